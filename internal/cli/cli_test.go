package cli

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
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
// PORT1 and PORT2 are free loopback ports;
// servers have no metrics listener unless they ask for one. Beside testscript's own commands:
//
//	code N agentidp …      the command must end with exit code N
//	private FILE agentidp … runs a command whose output is a secret: it goes to the
//	                       file, and not into what the test prints
//	ready URL              waits until URL answers 200
//	post PATH FILE         posts JSON to the API of AGENTIDP_SERVER with AGENTIDP_TOKEN
//	until FILE REGEXP      waits until FILE has what REGEXP finds
//	keep FILE NAME REGEXP  sets NAME to the first group that REGEXP finds in FILE
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(env *testscript.Env) error {
			env.Setenv("HOME", env.WorkDir)
			env.Setenv("AGENTIDP_METRICS_LISTEN", "off") // scripts run at the same time
			for _, name := range []string{"PORT1", "PORT2"} {
				port, err := freePort()
				if err != nil {
					return err
				}
				env.Setenv(name, port)
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
			"private": func(ts *testscript.TestScript, _ bool, args []string) {
				ts.Check(ts.Exec("sh", append([]string{"-c", `out=$1; shift; "$@" >"$out"`, "sh"}, args...)...))
			},
			"post":  post,
			"ready": func(ts *testscript.TestScript, _ bool, args []string) { ts.Check(waitFor(args[0])) },
			"until": until,
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

// Ports for scripts are below those that the system gives to whoever asks for any
// (from 32768 on Linux, 49152 elsewhere): nobody else gets one between its choice and
// its use, and no two scripts the same.
const firstPort, ports = 20000, 12000

var portsGiven = rand.Uint32N(ports) // so that tests of two checkouts rarely meet

var portsMutex sync.Mutex

func freePort() (string, error) {
	portsMutex.Lock()
	defer portsMutex.Unlock()
	for range ports {
		portsGiven++
		port := strconv.Itoa(firstPort + int(portsGiven%ports))
		if l, err := net.Listen("tcp", "127.0.0.1:"+port); err == nil {
			return port, l.Close()
		}
	}
	return "", fmt.Errorf("all ports from %d to %d are in use", firstPort, firstPort+ports-1)
}

// post makes what no command makes.
func post(ts *testscript.TestScript, _ bool, args []string) {
	body := os.Expand(ts.ReadFile(args[1]), ts.Getenv)
	req, err := http.NewRequest(http.MethodPost, ts.Getenv("AGENTIDP_SERVER")+"/api/v1"+args[0], strings.NewReader(body))
	ts.Check(err)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+ts.Getenv("AGENTIDP_TOKEN"))
	resp, err := http.DefaultClient.Do(req)
	ts.Check(err)
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	ts.Check(err)
	if resp.StatusCode != http.StatusCreated {
		ts.Fatalf("%s %s", resp.Status, answer)
	}
}

// until waits for what a command in the background writes.
func until(ts *testscript.TestScript, _ bool, args []string) {
	wanted := regexp.MustCompile("(?m)" + args[1])
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		written, err := os.ReadFile(ts.MkAbs(args[0]))
		if err == nil && wanted.Match(written) {
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("%s has nothing like %s:\n%s", args[0], args[1], written)
		}
	}
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
