package app

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// watch sees each file of a folder that anybody on this machine opens from now on. The
// function that it returns tells how many were since it was last called.
func watch(t *testing.T, folder string) (opened func() int) {
	t.Helper()
	fd, err := syscall.InotifyInit1(syscall.IN_NONBLOCK | syscall.IN_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Close(fd) })
	if _, err := syscall.InotifyAddWatch(fd, folder, syscall.IN_OPEN|syscall.IN_ACCESS); err != nil {
		t.Fatal(err)
	}
	return func() (n int) {
		t.Helper()
		events := make([]byte, 64<<10)
		for {
			read, err := syscall.Read(fd, events)
			switch {
			case errors.Is(err, syscall.EAGAIN):
				return n
			case err != nil:
				t.Fatal(err)
			}
			n += max(1, read/(syscall.SizeofInotifyEvent+16))
		}
	}
}

// a name that a token gives is no file's. Nobody opens one that is there.
func TestSecurityA029NoFileIsOpened(t *testing.T) {
	t.Parallel()
	f := newForger(t)
	folder := t.TempDir()
	file := filepath.Join(folder, "key.pem")
	if err := os.WriteFile(file, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	below, err := filepath.Rel(here, file)
	if err != nil {
		t.Fatal(err)
	}
	opened := watch(t, folder)
	for name, kid := range map[string]string{
		"its path": file, "from where the server runs": below, "an address": "file://" + file, "an address of localhost": "file://localhost" + file,
		"up from anywhere": strings.Repeat("../", 20) + file[1:], "without its ending": strings.TrimSuffix(file, ".pem"), "behind a pipe": "|cat " + file, "in an expression": "$(cat " + file + ")",
	} {
		f.attacks([]attack{
			{"A-029 kid a file, " + name, f.headed(header("RS256", kid)), "unknown_key"},
			{"A-029 kid a file, " + name + ", keyed with it", compact(header("HS256", kid), f.payload(), hs256([]byte("x"))), "algorithm"},
			{"A-029 jku a file, " + name, f.headed(header("RS256", f.kid, `"jku":`+quoted(kid))), "format"},
			{"A-029 x5u a file, " + name, f.headed(header("RS256", f.kid, `"x5u":`+quoted(kid))), "format"},
			{"A-029 iss a file, " + name, f.signed(claims{"iss": kid}), "issuer"},
		})
	}
	if n := opened(); n != 0 {
		t.Errorf("A-029 files that tokens name were opened, %d times", n)
	}
	if _, err := os.ReadFile(file); err != nil || opened() == 0 {
		t.Errorf("this test sees nothing: %v", err)
	}
}
