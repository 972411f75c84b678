package cli

import (
	"context"
	"database/sql"
	"encoding/base64"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sentryagent/agentidp/internal/pace"
	"github.com/sentryagent/agentidp/internal/printed"
)

// refusesToStart runs the server, which must end by itself with an exit code and one
// line that says something, before anything listens.
func (i *installation) refusesToStart(code int, says string, settings ...string) {
	i.t.Helper()
	ctx, cancel := context.WithTimeout(i.t.Context(), time.Minute) // if it does start
	defer cancel()
	cmd := exec.CommandContext(ctx, "agentidp", "serve")
	cmd.Env = append(slices.Clone(i.env), settings...)
	var complaint strings.Builder
	cmd.Stderr = &complaint
	_ = cmd.Run() // the exit code says it
	printed.Log(i.t, []byte(complaint.String()))
	lines := strings.Split(strings.TrimSpace(complaint.String()), "\n")
	if last := lines[len(lines)-1]; !strings.HasPrefix(last, "agentidp: ") || !strings.Contains(last, says) || len(lines) != 1 {
		i.t.Errorf("it says\n%s\nwant one line with %s", complaint.String(), says)
	}
	if got := cmd.ProcessState.ExitCode(); got != code {
		i.t.Errorf("exit code %d, want %d", got, code)
	}
}

// keySet is the server's, as text.
func (i *installation) keySet() string {
	i.t.Helper()
	resp, err := i.http.Get(i.url + "/.well-known/jwks.json")
	if err != nil {
		i.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		i.t.Fatal(resp.Status, err)
	}
	return string(text)
}

// what the keys rest on is missing, wrong or cannot be read at the start. The program
// says so in a line that names the setting, makes no key anew, and starts with the keys of
// before when it is as it was.
func TestR18KeysThatAreNotThereStopTheStart(t *testing.T) {
	t.Parallel()
	i := newInstallation(t)
	i.start()
	keys := i.keySet()
	i.end(syscall.SIGTERM)
	file, database := filepath.Join(i.data, "master.key"), filepath.Join(i.data, "agentidp.db")
	right, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	sealed := func(how string) {
		db, err := sql.Open("sqlite", "file://"+filepath.ToSlash(database))
		must(err)
		_, err = db.Exec("UPDATE signing_keys SET sealed_private_key = " + how)
		must(err)
		must(db.Close())
	}
	other := base64.StdEncoding.EncodeToString([]byte("0123456789abcdef0123456789abcdef"))
	elsewhere := filepath.Join(t.TempDir(), "none.key")
	for _, tt := range []struct {
		name     string
		settings []string
		spoil    func()
		code     int
		says     string
	}{
		{"the file is missing", nil, func() { must(os.Remove(file)) }, exitFailed, "there is no key in AGENTIDP_MASTER_KEY or in " + file},
		{"the setting names another, which is missing", []string{"AGENTIDP_MASTER_KEY_FILE=" + elsewhere}, func() {}, exitFailed, "there is no key in AGENTIDP_MASTER_KEY or in " + elsewhere},
		{"the key is another", nil, func() { must(os.WriteFile(file, []byte(other), 0o600)) }, exitFailed, "the key from " + file + " is not the one that sealed this database"},
		{"the key of the environment is another", []string{"AGENTIDP_MASTER_KEY=" + other}, func() {}, exitFailed, "the key from AGENTIDP_MASTER_KEY is not the one that sealed this database"},
		{"the file cannot be read", nil, func() { must(os.Remove(file)); must(os.Mkdir(file, 0o700)) }, exitUsage, "or name another in AGENTIDP_MASTER_KEY_FILE"},
		{"others can read it", nil, func() { must(os.Chmod(file, 0o644)) }, exitUsage, "run: chmod 600 " + file},
		{"a sealed key is damaged", nil, func() { sealed("substr(sealed_private_key, 1, 20) || 'AAAA' || substr(sealed_private_key, 25)") }, exitFailed, "signing key"},
		{"a sealed key is gone", nil, func() { sealed("''") }, exitFailed, "signing key"},
	} {
		t.Run("R-18 "+tt.name, func(t *testing.T) {
			copied, err := os.ReadFile(database)
			must(err)
			tt.spoil()
			i := *i
			i.t = t
			i.refusesToStart(tt.code, tt.says, tt.settings...)
			i.refusesToStart(tt.code, tt.says, tt.settings...) // the first did not mend it with a key of its own
			if _, err := os.Stat(elsewhere); err == nil {
				t.Error("a key was made")
			}
			must(os.RemoveAll(file))
			must(os.WriteFile(file, right, 0o600))
			must(os.WriteFile(database, copied, 0o600))
		})
	}
	i.start()
	if now := i.keySet(); now != keys {
		t.Errorf("the keys were %s and are %s", keys, now)
	}
}

// the file of settings is broken while the server runs. It goes on as it is, with its
// connections, also when it is told to look (SIGHUP); --check-config and a restart say what is
// wrong and where, and change nothing.
func TestR28SettingsThatAreBrokenWhileTheServerRuns(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "agentidp.yaml")
	put := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	put("token-ttl: 5m\n")
	i := newInstallation(t, "AGENTIDP_CONFIG="+file)
	i.start()
	exchange := i.exchanges()
	connection := i.keeper()
	asks := func() (reused bool) {
		t.Helper()
		ended, err := exchangeOver(connection, i.url, strings.NewReader(`{"token":"none"}`))
		if err == nil || !strings.Contains(err.Error(), "401") {
			t.Fatalf("it does not answer: %v", err)
		}
		return !ended
	}
	asks()
	for _, broken := range []string{"token-ttl: soon\n", "token-ttl: [\n", "tokenttl: 5m\n", ""} {
		if broken == "" {
			if err := os.Remove(file); err != nil {
				t.Fatal(err)
			}
		} else {
			put(broken)
		}
		before := i.server.said("settings are read at the start alone")
		if err := i.server.cmd.Process.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		pace.Eventually(t, "the signal is heard", func() bool { return i.server.said("settings are read at the start alone") == before+1 })
		if !asks() {
			t.Errorf("%q: the connection was ended", broken)
		}
		exchange()
		cmd := exec.CommandContext(t.Context(), "agentidp", "serve", "--check-config")
		cmd.Env = i.env
		out, _ := cmd.CombinedOutput()
		if code := cmd.ProcessState.ExitCode(); code != exitUsage || !strings.Contains(string(out), file) {
			t.Errorf("%q: --check-config ends with %d and says\n%s", broken, code, out)
		}
	}
	put("token-ttl: soon\n")
	if code := i.end(syscall.SIGTERM); code != exitOK {
		t.Errorf("exit code %d", code)
	}
	i.refusesToStart(exitUsage, file+":1")
	put("token-ttl: 5m\n")
	i.start()
	exchange()
}
