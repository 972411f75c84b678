package emulator

import (
	"crypto"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/sentryagent/agentidp/internal/jose"
)

const (
	keyBlock   = "PRIVATE KEY" // PKCS #8 (RFC 7468 §10)
	keyMaxSize = 64 << 10
)

// LoadOrCreateKey returns the RSA key in the PKCS #8 PEM file at path. If there
// is none, it creates one (0600), with its folder. Several processes may call it
// at once and all get the same key, so that one can mint what another publishes.
func LoadOrCreateKey(path string) (crypto.Signer, error) {
	key, err := loadKey(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return key, err
	}
	if err := createKey(path); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("create key file: %w", err)
	}
	return loadKey(path)
}

func loadKey(path string) (crypto.Signer, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open key file: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("open key file: %w", err)
	}
	if perm := info.Mode().Perm(); perm&0o077 != 0 {
		return nil, fmt.Errorf("key file %s: others than its owner may use it (mode %04o); run chmod 600 on it", path, perm)
	}
	data, err := io.ReadAll(io.LimitReader(f, keyMaxSize))
	if err != nil {
		return nil, fmt.Errorf("read key file: %w", err)
	}
	block, _ := pem.Decode(data)
	if block == nil || block.Type != keyBlock {
		return nil, fmt.Errorf("key file %s: it has no PEM block %q (PKCS #8); remove the file to have a new key made", path, keyBlock)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("key file %s: its PEM block is not a PKCS #8 private key; remove the file to have a new key made", path)
	}
	key, ok := parsed.(*rsa.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("key file %s: it holds %T, and GitHub signs with RSA keys alone; remove the file to have a new key made", path, parsed)
	}
	return key, nil
}

// createKey writes a new key beside path and links it into place, whole or not
// at all: the loser of a race gets fs.ErrExist and no reader sees half a file.
func createKey(path string) error {
	key, err := jose.GenerateKey(algorithm)
	if err != nil {
		return err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	tmp, err := os.CreateTemp(filepath.Dir(path), ".key-*") // 0600
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(tmp.Name()) }() // the link stays
	err = pem.Encode(tmp, &pem.Block{Type: keyBlock, Bytes: der})
	if err := errors.Join(err, tmp.Sync(), tmp.Close()); err != nil {
		return err
	}
	return os.Link(tmp.Name(), path)
}
