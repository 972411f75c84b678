// Package printed keeps what servers printed in tests, and what in it would be a
// secret, for the scan of all that the tests print (test/secretscan). It is for tests
// alone, and does nothing unless the scan runs them.
package printed

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Folder is the variable that names the folder of the scan.
const Folder = "SECRETSCAN_DIR"

// The endings of the files in it.
const (
	LogSuffix    = ".log"
	SecretSuffix = ".secret"
)

// Log keeps what a server printed.
func Log(t testing.TB, log []byte) { keep(t, LogSuffix, log) }

// Secret makes a value one that must stand nowhere. What is too short to be a secret
// would be found by chance, and fails the test.
func Secret(t testing.TB, value string) {
	t.Helper()
	if value = strings.TrimSpace(value); len(value) < 16 {
		t.Fatalf("a secret of %d characters cannot be looked for", len(value))
	}
	keep(t, SecretSuffix, []byte(value))
}

func keep(t testing.TB, suffix string, content []byte) {
	t.Helper()
	folder := os.Getenv(Folder)
	if folder == "" || len(content) == 0 {
		return
	}
	name := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' {
			return r
		}
		return '_'
	}, t.Name())
	f, err := os.CreateTemp(folder, fmt.Sprintf("%.80s-*%s", name, suffix))
	if err != nil {
		t.Errorf("keep what was printed: %v", err)
		return
	}
	if _, err = f.Write(content); err == nil {
		err = f.Close()
	}
	if err != nil {
		t.Errorf("keep what was printed, in %s: %v", filepath.Base(f.Name()), err)
	}
}
