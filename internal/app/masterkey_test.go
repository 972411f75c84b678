package app

import (
	"encoding/base64"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/config"
	"github.com/sentryagent/agentidp/internal/store"
)

// in terms of the one secret that a start needs.
func TestAMasterKeyThatIsNotRightStopsTheStart(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	agent := w.agentWithPolicy(w.admin())
	cfg := w.app.cfg
	cfg.Listen = "127.0.0.1:0"
	w.stop()
	file := cfg.MasterKeyFile
	right, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	write := func(content string, mode os.FileMode) func(*config.Config) {
		return func(*config.Config) {
			if err := os.WriteFile(file, []byte(content), mode); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(file, mode); err != nil {
				t.Fatal(err)
			}
		}
	}
	given := func(key string) func(*config.Config) { return func(c *config.Config) { c.MasterKey = key } }
	wrong := base64.StdEncoding.EncodeToString([]byte("0123456789abcdef0123456789abcdef"))
	zeros := base64.StdEncoding.EncodeToString(make([]byte, 32))
	sealed := w.sealedRows(cfg)
	for _, r := range []struct {
		name  string
		spoil func(*config.Config)
		want  string
	}{
		{"another key in the file", write(wrong, 0o600), "master key: the key from " + file + " is not the one that sealed this database; put back the right key"},
		{"no file", func(*config.Config) { _ = os.Remove(file) }, "this database is sealed, and there is no key in AGENTIDP_MASTER_KEY or in " + file + "; put back the key that sealed it"},
		{"a file elsewhere that is not there", func(c *config.Config) { c.MasterKeyFile = filepath.Join(cfg.DataDir, "none") }, "this database is sealed, and there is no key in AGENTIDP_MASTER_KEY or in"},
		{"a file that all can read", write(string(right), 0o644), "can be read by others (mode 0644); run: chmod 600 " + file},
		{"a file that the group can read", write(string(right), 0o640), "can be read by others (mode 0640); run: chmod 600 " + file},
		{"zeros in the file", write(zeros, 0o600), file + ": the master key is one byte repeated, a placeholder; make one with: openssl rand -base64 32"},
		{"an empty file", write("", 0o600), file + ": the master key is not 32 bytes in base64"},
		{"words", write("changeme", 0o600), file + ": the master key is not 32 bytes in base64"},
		{"sixteen bytes", write(base64.StdEncoding.EncodeToString([]byte("0123456789abcdef")), 0o600), "is not 32 bytes in base64"},
		{"hexadecimal", write(strings.Repeat("0f", 32), 0o600), "is not 32 bytes in base64"},
		{"another key in the environment, the right one in the file", given(wrong), "master key: the key from AGENTIDP_MASTER_KEY is not the one that sealed this database"},
		{"a placeholder in the environment", given(zeros), "AGENTIDP_MASTER_KEY: the master key is one byte repeated"},
		{"words in the environment", given("changeme"), "AGENTIDP_MASTER_KEY: the master key is not 32 bytes in base64"},
	} {
		changed := cfg
		r.spoil(&changed)
		before := listing(t, cfg.DataDir)
		err := w.failingStart(changed)
		if err == nil || !strings.Contains(err.Error(), r.want) {
			t.Errorf("%s: %v, want %q", r.name, err, r.want)
		}
		if err != nil && (strings.Contains(err.Error(), wrong) || strings.Contains(err.Error(), strings.TrimSpace(string(right)))) {
			t.Errorf("%s: the error shows a key", r.name)
		}
		if after := listing(t, cfg.DataDir); after != before {
			t.Errorf("%s: the folder holds\n%s\nand held\n%s", r.name, after, before)
		}
		if got := w.sealedRows(cfg); !reflect.DeepEqual(got, sealed) {
			t.Errorf("%s: the database was changed", r.name)
		}
		write(string(right), 0o600)(nil)
	}
	listener, err := net.Listen("tcp", strings.TrimPrefix(w.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	w.start(w.app.cfg, listener) // nothing was lost
	w.granted(exchangeBody(w.subject(nil), agent))
}

// sealedRows returns what the master key has to do with.
func (w *world) sealedRows(cfg config.Config) any {
	w.t.Helper()
	db, err := store.Open(w.t.Context(), cfg.DatabaseURL, store.Options{})
	if err != nil {
		w.t.Fatal(err)
	}
	defer db.Close()
	org, err := db.Organization(w.t.Context(), agentidp.DefaultOrganization)
	if err != nil {
		w.t.Fatal(err)
	}
	keys, err := db.SigningKeys(w.t.Context(), org.ID)
	if err != nil {
		w.t.Fatal(err)
	}
	check, err := db.Setting(w.t.Context(), "master_key_check")
	if err != nil || len(keys) != 1 {
		w.t.Fatalf("%d keys, %v", len(keys), err)
	}
	return []any{keys, check}
}

// listing describes the files of a folder, but for what SQLite makes as it goes.
func listing(t *testing.T, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(e.Name(), ".db") {
			continue
		}
		content, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&b, "%s %v %x\n", e.Name(), info.Mode(), content)
	}
	return b.String()
}

func TestTheFirstStart(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, name := range []string{"master.key", "agentidp.db", "agentidp.lock"} {
		info, err := os.Stat(filepath.Join(w.app.cfg.DataDir, name))
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", name, info, err)
		}
	}
	cfg := w.app.cfg
	cfg.Listen, cfg.MasterKey = "127.0.0.1:0", base64.StdEncoding.EncodeToString(make([]byte, 32))
	cfg.Storage = config.Storage{DataDir: filepath.Join(t.TempDir(), "data"), MasterKey: cfg.MasterKey}
	cfg.Storage.Complete()
	if err := w.failingStart(cfg); err == nil || !strings.Contains(err.Error(), "placeholder") {
		t.Fatalf("a placeholder on an empty folder: %v", err)
	}
	if _, err := os.Stat(cfg.MasterKeyFile); !os.IsNotExist(err) {
		t.Errorf("a key file was made: %v", err)
	}
	cfg.MasterKey = ""
	if err := w.failingStart(cfg); err != nil {
		t.Errorf("the same folder without it: %v", err)
	}
}
