package keys

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/sentryagent/agentidp/internal/store"
)

// MasterKey seals the private keys in the database: AES-256-GCM with a random
// nonce. It is the one secret of an installation that is not in the database.
type MasterKey struct{ aead cipher.AEAD }

const masterKeySize = 32

// newMasterKey reads 32 bytes from base64. A key of one repeated byte is somebody's
// placeholder and is refused.
func newMasterKey(encoded string) (*MasterKey, error) {
	raw, err := base64.StdEncoding.DecodeString(strings.TrimSpace(encoded))
	if err != nil || len(raw) != masterKeySize {
		return nil, errors.New("the master key is not 32 bytes in base64; make one with: openssl rand -base64 32")
	}
	if strings.Count(string(raw), string(raw[:1])) == masterKeySize {
		return nil, errors.New("the master key is one byte repeated, a placeholder; make one with: openssl rand -base64 32")
	}
	block, err := aes.NewCipher(raw)
	if err != nil {
		return nil, fmt.Errorf("set up the master key: %w", err)
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, fmt.Errorf("set up the master key: %w", err)
	}
	return &MasterKey{aead: aead}, nil
}

// seal encrypts plaintext. The label says what it is and where it belongs: a
// sealed value that is moved to another row no longer opens.
func (m *MasterKey) seal(plaintext []byte, label string) []byte {
	return m.aead.Seal(nil, nil, plaintext, []byte(label)) //nolint:gosec // G407: the AEAD draws the nonce itself
}

func (m *MasterKey) open(sealed []byte, label string) ([]byte, error) {
	return m.aead.Open(nil, nil, sealed, []byte(label))
}

// MasterKeySource says where the master key is to be found.
type MasterKeySource struct {
	Value     string // the key itself (AGENTIDP_MASTER_KEY), or empty
	File      string // the file that holds it
	MayCreate bool   // create File for a database that was never sealed
}

// The check value proves that a master key is the one that sealed this
// database, before anything is read or written with it.
const (
	checkSetting = "master_key_check"
	checkText    = "agentidp master key"
)

var errNoMasterKey = errors.New("master key: set AGENTIDP_MASTER_KEY or AGENTIDP_MASTER_KEY_FILE; with PostgreSQL every node needs the same key, so none is made here (openssl rand -base64 32)")

// Sealed reports whether a database has a master key.
func Sealed(ctx context.Context, db *store.DB) (bool, error) {
	_, err := db.Setting(ctx, checkSetting)
	if errors.Is(err, store.ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}

// Unlock finds the master key and proves it against the database. A database
// that was sealed before opens with its own key or not at all: a new key is made
// only for a database that never had one, because a key made in place of a lost
// one would silently give every organization a new identity.
func Unlock(ctx context.Context, db *store.DB, src MasterKeySource) (*MasterKey, error) {
	check, err := db.Setting(ctx, checkSetting)
	sealed := err == nil
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return nil, fmt.Errorf("read the master key's check value: %w", err)
	}
	key, err := src.read()
	if errors.Is(err, fs.ErrNotExist) {
		switch {
		case sealed:
			return nil, fmt.Errorf("master key: this database is sealed, and there is no key in AGENTIDP_MASTER_KEY or in %s; put back the key that sealed it (a new one cannot open it)", src.File)
		case !src.MayCreate:
			return nil, errNoMasterKey
		}
		key, err = createMasterKey(src.File)
	}
	if err != nil {
		return nil, err
	}
	if !sealed {
		if check, err = writeCheck(ctx, db, key); err != nil {
			return nil, err
		}
	}
	raw, err := base64.StdEncoding.DecodeString(check)
	if err == nil {
		_, err = key.open(raw, checkSetting)
	}
	if err != nil {
		return nil, fmt.Errorf("master key: the key from %s is not the one that sealed this database; put back the right key", src.name())
	}
	return key, nil
}

// Check returns what would keep Unlock from finding a key, as far as it can be known
// without the database.
func (s *MasterKeySource) Check() error {
	_, err := s.read()
	switch {
	case !errors.Is(err, fs.ErrNotExist):
		return err
	case s.MayCreate:
		return nil
	}
	return errNoMasterKey
}

func (s *MasterKeySource) name() string {
	if s.Value != "" {
		return "AGENTIDP_MASTER_KEY"
	}
	return s.File
}

// read returns an error that is fs.ErrNotExist where no key was given at all.
func (s *MasterKeySource) read() (*MasterKey, error) {
	if s.Value != "" {
		key, err := newMasterKey(s.Value)
		if err != nil {
			return nil, fmt.Errorf("AGENTIDP_MASTER_KEY: %w", err)
		}
		return key, nil
	}
	info, err := os.Stat(s.File)
	if err != nil {
		return nil, fmt.Errorf("read the master key file: %w; make it a file that the server may read, or name another in AGENTIDP_MASTER_KEY_FILE", err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("master key file %s can be read by others (mode %04o); run: chmod 600 %s", s.File, info.Mode().Perm(), s.File)
	}
	raw, err := os.ReadFile(s.File)
	if err != nil {
		return nil, fmt.Errorf("read the master key file: %w; make it a file that the server may read, or name another in AGENTIDP_MASTER_KEY_FILE", err)
	}
	key, err := newMasterKey(string(raw))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", s.File, err)
	}
	return key, nil
}

// createMasterKey writes a new key to a file that must not exist, and makes it
// durable before it is used: what is sealed under a lost key is lost.
func createMasterKey(file string) (*MasterKey, error) {
	raw := make([]byte, masterKeySize)
	_, _ = rand.Read(raw) // crypto/rand.Read never fails
	encoded := base64.StdEncoding.EncodeToString(raw)
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, fmt.Errorf("create the master key file: %w", err)
	}
	_, err = f.WriteString(encoded + "\n")
	err = errors.Join(err, f.Sync(), f.Close(), syncFolder(filepath.Dir(file)))
	if err != nil {
		return nil, fmt.Errorf("write the master key file: %w", err)
	}
	return newMasterKey(encoded)
}

func syncFolder(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// writeCheck seals the database under key and returns the stored check value,
// which is another's when two nodes start at once.
func writeCheck(ctx context.Context, db *store.DB, key *MasterKey) (string, error) {
	check := base64.StdEncoding.EncodeToString(key.seal([]byte(checkText), checkSetting))
	err := db.Write(ctx, func(tx *store.Tx) error { return tx.PutSetting(ctx, checkSetting, check) })
	if errors.Is(err, store.ErrExists) {
		check, err = db.Setting(ctx, checkSetting)
	}
	if err != nil {
		return "", fmt.Errorf("record the master key's check value: %w", err)
	}
	return check, nil
}
