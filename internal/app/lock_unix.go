//go:build unix

package app

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// dataLock keeps a second server off a data directory. The kernel lets go of it
// when the process ends, however it ends.
type dataLock struct{ file *os.File }

func lockData(dir string) (*dataLock, error) {
	path := filepath.Join(dir, "agentidp.lock")
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("data-dir (AGENTIDP_DATA_DIR): %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("data-dir (AGENTIDP_DATA_DIR): another agentidp serve uses %s; stop it, or give this one a folder of its own", dir)
		}
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	return &dataLock{f}, nil
}

// release unlocks before it closes: a child process that is being started at this
// moment has the file open too, and closing alone would leave the lock with it.
func (l *dataLock) release() error {
	return errors.Join(syscall.Flock(int(l.file.Fd()), syscall.LOCK_UN), l.file.Close())
}
