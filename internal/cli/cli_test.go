package cli

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestMain makes this test binary the program itself: scripts run it as a real
// process.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"agentidp": func() {
			if code := Process(); code != exitOK {
				os.Exit(code)
			}
		},
	})
}

// TestScripts runs the conversations in testdata/script. Each has its own folder;
// PORT1 and PORT2 are free loopback ports. Beside testscript's own commands:
//
//	code N agentidp …      the command must end with exit code N
//	ready URL              waits until URL answers 200
//	keep FILE NAME REGEXP  sets NAME to the first group that REGEXP finds in FILE
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(env *testscript.Env) error {
			env.Setenv("HOME", env.WorkDir)
			for _, name := range []string{"PORT1", "PORT2"} {
				l, err := net.Listen("tcp", "127.0.0.1:0")
				if err != nil {
					return err
				}
				_, port, _ := net.SplitHostPort(l.Addr().String())
				env.Setenv(name, port)
				env.Defer(func() { l.Close() })
				l.Close()
			}
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"code": func(ts *testscript.TestScript, _ bool, args []string) {
				err := ts.Exec(args[1], args[2:]...)
				got := "0"
				if err != nil {
					got = strings.TrimPrefix(err.Error(), "exit status ")
				}
				if got != args[0] {
					ts.Fatalf("exit code %s, want %s", got, args[0])
				}
			},
			"ready": func(ts *testscript.TestScript, _ bool, args []string) { ts.Check(waitFor(args[0])) },
			"keep": func(ts *testscript.TestScript, _ bool, args []string) {
				found := regexp.MustCompile(args[2]).FindStringSubmatch(ts.ReadFile(args[0]))
				if len(found) < 2 {
					ts.Fatalf("%s has nothing like %s", args[0], args[2])
				}
				ts.Setenv(args[1], found[1])
			},
		},
	})
}

// waitFor waits until a server answers 200.
func waitFor(url string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	for {
		if _, err := fetch(ctx, url); err == nil || ctx.Err() != nil {
			return err
		}
		select {
		case <-ctx.Done():
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// fetch gets a document from a server on this machine.
func fetch(ctx context.Context, url string) ([]byte, error) {
	return get(ctx, http.DefaultClient, "the document", url)
}

func TestTheDemoStaysUpUntilItIsInterrupted(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	out, in := io.Pipe()
	done := make(chan int, 1)
	var stderr strings.Builder
	go func() {
		done <- Main(ctx, []string{"demo"}, &IO{In: strings.NewReader(""), Out: in, Err: &stderr})
		in.Close()
	}()
	lines := bufio.NewScanner(out)
	var url string
	for lines.Scan() {
		if _, rest, ok := strings.Cut(lines.Text(), "curl -s http"); ok && url == "" {
			url = "http" + strings.Fields(rest)[0]
			break
		}
	}
	go io.Copy(io.Discard, out)
	if _, err := fetch(t.Context(), url); err != nil {
		t.Errorf("after the story, %s: %v", url, err)
	}
	cancel()
	if code := <-done; code != exitOK {
		t.Errorf("exit code %d: %s", code, stderr.String())
	}
}
