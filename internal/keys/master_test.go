package keys

import (
	"bytes"
	"encoding/base64"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

func TestSealedValues(t *testing.T) {
	t.Parallel()
	key := newMaster(t, "one")
	sealed := key.seal([]byte("secret"), "row 1")
	if got, err := key.open(sealed, "row 1"); err != nil || string(got) != "secret" {
		t.Fatalf("%q, %v", got, err)
	}
	if bytes.Contains(sealed, []byte("secret")) || bytes.Equal(sealed, key.seal([]byte("secret"), "row 1")) {
		t.Error("sealing hides nothing, or is the same twice")
	}
	flipped := bytes.Clone(sealed)
	flipped[len(flipped)/2] ^= 1
	for _, tt := range []struct {
		name   string
		key    *MasterKey
		sealed []byte
		label  string
	}{
		{"in another row", key, sealed, "row 2"},
		{"without a label", key, sealed, ""},
		{"under another key", newMaster(t, "two"), sealed, "row 1"},
		{"with one bit changed", key, flipped, "row 1"},
		{"cut short", key, sealed[:len(sealed)-1], "row 1"},
		{"longer", key, append(bytes.Clone(sealed), 0), "row 1"},
		{"shorter than a nonce", key, sealed[:5], "row 1"},
		{"empty", key, nil, "row 1"},
	} {
		if got, err := tt.key.open(tt.sealed, tt.label); err == nil {
			t.Errorf("%s it opens: %q", tt.name, got)
		}
	}
}

func TestMasterKeyForms(t *testing.T) {
	t.Parallel()
	good := base64.StdEncoding.EncodeToString([]byte("0123456789abcdef0123456789abcdef"))
	for _, tt := range []struct {
		name, encoded, want string
	}{
		{"base64", good, ""},
		{"with an end of line, as openssl prints it", good + "\n", ""},
		{"with white space around", " " + good + "\r\n", ""},
		{"base64url", strings.NewReplacer("+", "-", "/", "_").Replace(base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{0xfb, 0xff}, 16))), "not 32 bytes in base64"},
		{"without padding", strings.TrimRight(good, "="), "not 32 bytes in base64"},
		{"31 bytes", base64.StdEncoding.EncodeToString(make([]byte, 31)), "not 32 bytes in base64"},
		{"33 bytes", base64.StdEncoding.EncodeToString(make([]byte, 33)), "not 32 bytes in base64"},
		{"nothing", "", "not 32 bytes in base64"},
		{"zeros", base64.StdEncoding.EncodeToString(make([]byte, 32)), "placeholder"},
		{"the same letter", base64.StdEncoding.EncodeToString(bytes.Repeat([]byte("x"), 32)), "placeholder"},
	} {
		_, err := newMasterKey(tt.encoded)
		switch {
		case tt.want == "" && err != nil, tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		case err != nil && tt.encoded != "" && strings.Contains(err.Error(), tt.encoded):
			t.Errorf("%s: the error shows the key", tt.name)
		}
	}
}

func TestUnlock(t *testing.T) {
	t.Parallel()
	db := newDB(t)
	file := filepath.Join(t.TempDir(), "master.key")
	if _, err := Unlock(t.Context(), db, MasterKeySource{File: file}); err == nil || !strings.Contains(err.Error(), "set AGENTIDP_MASTER_KEY") {
		t.Fatalf("no key, and none may be made: %v", err)
	}
	if _, err := os.Stat(file); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("one was made: %v", err)
	}
	first, err := Unlock(t.Context(), db, MasterKeySource{File: file, MayCreate: true})
	if err != nil {
		t.Fatal(err)
	}
	again, err := Unlock(t.Context(), db, MasterKeySource{File: file, MayCreate: true})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := again.open(first.seal([]byte("x"), "l"), "l"); err != nil || string(got) != "x" {
		t.Errorf("the second start has another key: %q, %v", got, err)
	}
	// One database, one key, whoever of two is first.
	shared := newDB(t)
	sources := []MasterKeySource{{Value: base64.StdEncoding.EncodeToString([]byte("0123456789abcdef0123456789abcdef"))}, {Value: base64.StdEncoding.EncodeToString([]byte("fedcba9876543210fedcba9876543210"))}}
	errs := make([]error, len(sources))
	var wg sync.WaitGroup
	for i, src := range sources {
		wg.Go(func() { _, errs[i] = Unlock(t.Context(), shared, src) })
	}
	wg.Wait()
	if (errs[0] == nil) == (errs[1] == nil) {
		t.Errorf("two keys for one database: %v", errs)
	}
}
