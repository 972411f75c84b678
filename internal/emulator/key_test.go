package emulator_test

import (
	"crypto"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/sentryagent/agentidp/internal/emulator"
	"github.com/sentryagent/agentidp/internal/jose"
)

func TestAKeyFileIsMadeOnceForAll(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "new", "folder", "emulator.pem")
	keys := make([]crypto.Signer, 4)
	var all sync.WaitGroup
	for i := range keys {
		all.Go(func() {
			var err error
			if keys[i], err = emulator.LoadOrCreateKey(path); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if t.Failed() {
		return
	}
	for _, k := range keys {
		if !k.Public().(*rsa.PublicKey).Equal(keys[0].Public()) {
			t.Error("two callers got two keys")
		}
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if perm := info.Mode().Perm(); perm != 0o600 {
		t.Errorf("mode %04o, want 0600", perm)
	}
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(entries) != 1 {
		t.Errorf("the folder holds %v (%v), want the key file alone", entries, err)
	}
}

func TestKeyFilesThatAreRefused(t *testing.T) {
	t.Parallel()
	der := func(k crypto.Signer) []byte {
		b, err := x509.MarshalPKCS8PrivateKey(k)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	block := func(kind string, b []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: b}))
	}
	ec, err := jose.GenerateKey(jose.ES256)
	if err != nil {
		t.Fatal(err)
	}
	rsaDER := der(key())
	for _, test := range []struct {
		name, content string
		mode          os.FileMode
		want          string
	}{
		{"a group may read it", block("PRIVATE KEY", rsaDER), 0o640, "mode 0640); run chmod 600"},
		{"the world may read it", block("PRIVATE KEY", rsaDER), 0o604, "mode 0604); run chmod 600"},
		{"it is empty", "", 0o600, "no PEM block"},
		{"it is no PEM", "secret-content", 0o600, "no PEM block"},
		{"it is of another form", block("RSA PRIVATE KEY", rsaDER), 0o600, "no PEM block"},
		{"it is damaged", block("PRIVATE KEY", rsaDER[:100]), 0o600, "not a PKCS #8 private key"},
		{"it is an EC key", block("PRIVATE KEY", der(ec)), 0o600, "*ecdsa.PrivateKey, and GitHub signs with RSA keys alone"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "emulator.pem")
			if err := os.WriteFile(path, []byte(test.content), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(path, test.mode); err != nil { // past the umask
				t.Fatal(err)
			}
			k, err := emulator.LoadOrCreateKey(path)
			if err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), path) {
				t.Fatalf("got %v, %v; want an error with %q", k, err, test.want)
			}
			if strings.Contains(err.Error(), "secret-content") {
				t.Errorf("the error repeats the file: %v", err)
			}
			if now, err := os.ReadFile(path); err != nil || string(now) != test.content {
				t.Error("the file was changed")
			}
		})
	}
}

func TestAKeyFileIsSharedByTwoEmulators(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "emulator.pem")
	kids := make(map[string]bool)
	for range 2 { // as two processes would
		k, err := emulator.LoadOrCreateKey(path)
		if err != nil {
			t.Fatal(err)
		}
		e, err := emulator.New(emulator.Config{Issuer: issuer, Key: k, Run: emulator.Run{Repository: "acme/deploy"}})
		if err != nil {
			t.Fatal(err)
		}
		token, err := e.Mint(emulator.Options{})
		if err != nil {
			t.Fatal(err)
		}
		jws, err := jose.Parse(token)
		if err != nil {
			t.Fatal(err)
		}
		kids[jws.Header.Kid] = true
	}
	if len(kids) != 1 {
		t.Errorf("kids %v, want one", kids)
	}
}
