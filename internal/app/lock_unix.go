//go:build unix

package app

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

const lockFile = "agentidp.lock"

// dataLock keeps a second server off a data directory. The kernel lets go of it
// when the process ends, however it ends.
type dataLock struct{ file *os.File }

// What is said of a folder that is in use: to a second server, and to whoever works on
// the database without one.
const (
	usedByAnother = "another agentidp serve uses %s; stop it, or give this one a folder of its own"
	usedByServer  = "a server uses %s; stop it first"
)

func lockData(dir, used string) (*dataLock, error) {
	path := filepath.Join(dir, lockFile)
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("data-dir (AGENTIDP_DATA_DIR): %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("data-dir (AGENTIDP_DATA_DIR): "+used, dir)
		}
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	return &dataLock{f}, nil
}

// remember notes in the lock's file which database a server has used, and its mark.
func (l *dataLock) remember(database string, mark int64) error {
	// Of one length, so that it is written over in place, also where a disk is full.
	text := fmt.Sprintf("%s\n%020d\n", database, mark)
	_, err := l.file.WriteAt([]byte(text), 0)
	return errors.Join(err, l.file.Truncate(int64(len(text))), l.file.Sync())
}

// remembered returns what is noted in a data directory, whoever holds its lock; "" if no
// server has used it.
func remembered(dir string) (database string, mark int64, err error) {
	f, err := os.Open(filepath.Join(dir, lockFile))
	if errors.Is(err, fs.ErrNotExist) {
		return "", 0, nil
	}
	if errors.Is(err, fs.ErrPermission) {
		return "", 0, fmt.Errorf("%w; run it as the user of the server", err)
	}
	if err != nil {
		return "", 0, err
	}
	defer func() { _ = f.Close() }() // nothing was written
	b, err := io.ReadAll(io.LimitReader(f, 8192))
	database, text, _ := strings.Cut(string(b), "\n")
	mark, _ = strconv.ParseInt(strings.TrimSpace(text), 10, 64) // without one, it is an older program's
	return within(dir, database), mark, err
}

// within names a file as it is seen from a folder that it is in, so that it is the same
// one where the folder is moved, mounted elsewhere or reached by a link.
func within(dir, file string) string {
	dir, err := filepath.Abs(dir)
	if err != nil || !filepath.IsAbs(file) {
		return file
	}
	if rel, err := filepath.Rel(dir, file); err == nil && filepath.IsLocal(rel) {
		return rel
	}
	return file
}

// ownedLike gives files to the owner of a folder, if it is root who made them: the
// server is to read them.
func ownedLike(folder string, files ...string) error {
	if os.Geteuid() != 0 {
		return nil
	}
	info, err := os.Stat(folder)
	if err != nil {
		return err
	}
	owner, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return nil
	}
	var errs []error
	for _, f := range files {
		errs = append(errs, os.Chown(f, int(owner.Uid), int(owner.Gid)))
	}
	return errors.Join(errs...)
}

// release unlocks before it closes: a child process that is being started at this
// moment has the file open too, and closing alone would leave the lock with it.
func (l *dataLock) release() error {
	return errors.Join(syscall.Flock(int(l.file.Fd()), syscall.LOCK_UN), l.file.Close())
}
