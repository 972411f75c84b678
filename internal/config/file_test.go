package config_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sentryagent/agentidp/internal/config"
)

var keys = []config.Key{{Name: "listen"}, {Name: "dev"}, {Name: "limit"}, {Name: "hosts", Sep: ","}}

func write(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "agentidp.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// What stands in the file reaches the setting as if it had been given to the flag.
func TestAFileIsReadAsFlagsWouldBe(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, text, key string
		want            string // "-" is not there
	}{
		{"text", "listen: 127.0.0.1:8080", "listen", "127.0.0.1:8080"},
		{"text in quotes", `listen: "127.0.0.1:8080" # with a comment`, "listen", "127.0.0.1:8080"},
		{"a number", "limit: 60", "limit", "60"},
		{"yes or no", "dev: true", "dev", "true"},
		{"a list", "hosts: [a.example, b.example]", "hosts", "a.example,b.example"},
		{"a list, one a line", "hosts:\n  - a.example\n  - 10.0.0.0/8\n", "hosts", "a.example,10.0.0.0/8"},
		{"a list of one", "hosts: [a.example]", "hosts", "a.example"},
		{"a list as text", "hosts: a.example,b.example", "hosts", "a.example,b.example"},
		{"a comma in a list", `hosts: ["a,b", c]`, "hosts", `a\,b,c`},
		{"what is not there", "dev: true", "listen", "-"},
		{"nothing", "", "listen", "-"},
		{"nothing but comments", "# listen: 127.0.0.1:8080\n", "listen", "-"},
		{"nothing but the beginning of a document", "---\n", "listen", "-"},
		{"Windows lines", "dev: true\r\nlisten: 127.0.0.1:8080\r\n", "listen", "127.0.0.1:8080"},
		{"a byte order mark", "\ufefflisten: 127.0.0.1:8080\n", "listen", "127.0.0.1:8080"},
		{"JSON", `{"listen": "127.0.0.1:8080", "hosts": ["a"]}`, "listen", "127.0.0.1:8080"},
	} {
		f, err := config.ReadFile(write(t, tt.text), keys)
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		got, ok := f.Lookup(tt.key)
		if !ok {
			got = "-"
		}
		if got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}

// What is wrong with a file does not hide what is right in it.
func TestWrongLists(t *testing.T) {
	t.Parallel()
	path := write(t, "hosts:\n  - a\n  - {b: c}\nlisten: 127.0.0.1:8080\ndev: []\nlimit: !!null\n")
	f, err := config.ReadFile(path, keys)
	want := strings.ReplaceAll(`FILE:1: hosts: in line 3: has keys of its own, and settings are not nested; give one value
FILE:5: dev: is a list, and takes one value
FILE:6: limit: has no value; give one, or leave the line out`, "FILE", path)
	if err == nil || err.Error() != want {
		t.Errorf("%v\nwant\n%s", err, want)
	}
	if listen, _ := f.Lookup("listen"); listen != "127.0.0.1:8080" || f.Where("listen") != path+":4" {
		t.Errorf("listen is %q, at %s", listen, f.Where("listen"))
	}
	if _, err := config.ReadFile(write(t, "hosts: []"), keys); err == nil || !strings.HasSuffix(err.Error(), ":1: hosts: is an empty list; give a value, or leave the line out") {
		t.Error(err)
	}
	if _, err := config.ReadFile(write(t, strings.Repeat("#", 1<<20+1)), keys); err == nil || !strings.Contains(err.Error(), "larger than 1 MiB") {
		t.Error(err)
	}
}

// Root may hand a secret to a service's group; nobody else to anybody.
func TestPrivateFiles(t *testing.T) {
	t.Parallel()
	path := write(t, "x")
	root := os.Getuid() == 0
	for mode, want := range map[os.FileMode]bool{0o600: true, 0o400: true, 0o640: root, 0o440: root, 0o644: false, 0o604: false, 0o660: false, 0o601: false} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if got := config.Private(info); got != want {
			t.Errorf("mode %04o is private: %v", mode, got)
		}
	}
}
