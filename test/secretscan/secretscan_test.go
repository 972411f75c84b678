package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/sentryagent/agentidp/internal/printed"
)

// The test binary is the command that is scanned: it prints $SECRETSCAN_SAYS, leaves
// what $SECRETSCAN_LEAVES says as a log, and ends as $SECRETSCAN_ENDS says.
func TestMain(m *testing.M) {
	says, speaks := os.LookupEnv("SECRETSCAN_SAYS")
	if !speaks {
		os.Exit(m.Run())
	}
	fmt.Print(says)
	for name, content := range map[string]string{"server.log": os.Getenv("SECRETSCAN_LEAVES"), "key.secret": os.Getenv("SECRETSCAN_NAMES")} {
		if content != "" {
			if err := os.WriteFile(os.Getenv(printed.Folder)+"/"+name, []byte(content), 0o600); err != nil {
				panic(err)
			}
		}
	}
	if os.Getenv("SECRETSCAN_ENDS") == "badly" {
		os.Exit(3)
	}
	os.Exit(0)
}

// Planted here in pieces, so that the scan of this test finds nothing.
const (
	token  = "ey" + "JhbGciOiJFUzI1NiJ9.ey" + "JpZCI6InBsYW50ZWQifQ.c2lnbmF0dXJl"
	secret = "agentidp_" + "cs_019a000000007000800000000000000a_zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz1h3evD"
	pem    = "-----BEGIN EC PRIVATE" + " KEY-----"
	jwk    = `{"kty":"EC","d":` + `"c2lnbmF0dXJlc2lnbmF0dXJlc2lnbmF0dXJl"}`
	master = "3q2+7wAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
)

func TestWhatIsFound(t *testing.T) {
	t.Setenv("GORACE", "atexit_sleep_ms=0") // with the race detector a program sleeps for a second at its end
	const passes = `{"Action":"run","Package":"p","Test":"TestX"}` + "\n" +
		`{"Action":"output","Package":"p","Test":"TestX","Output":"%s\n"}` + "\n" +
		`{"Action":"pass","Package":"p","Test":"TestX"}` + "\n" +
		`{"Action":"output","Package":"p","Output":"ok  \tp\t0.1s\n"}` + "\n"
	said := func(s string) string { return fmt.Sprintf(passes, strings.ReplaceAll(s, `"`, `\"`)) }
	for _, tt := range []struct {
		name                string
		says, leaves, names string
		logs                int
		ends                string
		code                int
		finding             string // in the error; empty: none
		shown               string // on the standard output
	}{
		{name: "nothing secret", says: said("hello"), shown: "ok  \tp\t0.1s\nsecretscan: no secret in 2 lines of output and 0 logs of servers; 0 values were looked for\n"},
		{name: "A-219 a token in what a test says, also if it passes", says: said("got " + token), finding: "p TestX: a token: eyJhbG… ("},
		{name: "A-219 a token in plain output, without an end of line", says: token, finding: "output: a token: eyJhbG… (", shown: token + "\n"},
		{name: "A-219 a client secret, in what a test says", says: said("secret=" + secret), finding: "p TestX: a client secret: agenti… (94 characters)"},
		{name: "A-219 a client secret, in the log of a server", says: said("hello"), leaves: `{"path":"/?s=` + secret + `"}`, finding: "server.log: a client secret"},
		{name: "a part of a client secret, by which its credential is known", says: said(secret[:44])},
		{name: "a private key", says: said(pem), finding: "p TestX: a private key: -----B… ("},
		{name: "a private JWK", says: said(jwk), finding: "p TestX: a private JWK"},
		{name: "A-219 a token in the log of a server", says: said("hello"), leaves: `{"msg":"` + token + `"}`, finding: "server.log: a token: eyJhbG… ("},
		{name: "a value that a test named, in a log", leaves: "key=" + master, names: master, finding: "server.log: a value that a test named: 3q2+7w… (44 characters)"},
		{name: "a value that a test named, in what another said", says: said(master), names: master, finding: "p TestX: a value that a test named"},
		{name: "a value that a test named, and nobody printed", says: said("hello"), names: master, shown: "ok  \tp\t0.1s\nsecretscan: no secret in 2 lines of output and 0 logs of servers; 1 values were looked for\n"},
		{name: "no log where there should be one", says: said("hello"), logs: 1, finding: "0 logs of servers were left in $SECRETSCAN_DIR, and there should be 1"},
		{name: "the log that there should be", says: said("hello"), leaves: "fine", logs: 1},
		{name: "the command's own failure is its own", says: said("hello"), ends: "badly", code: 3},
		{name: "a failure with a token", says: said(token), ends: "badly", code: 3, finding: "a token"},
	} {
		t.Setenv("SECRETSCAN_SAYS", tt.says)
		t.Setenv("SECRETSCAN_LEAVES", tt.leaves)
		t.Setenv("SECRETSCAN_NAMES", tt.names)
		t.Setenv("SECRETSCAN_ENDS", tt.ends)
		var out strings.Builder
		code, err := run(context.Background(), []string{os.Args[0]}, tt.logs, &out, &out)
		if code != tt.code {
			t.Errorf("%s: exit code %d, want %d", tt.name, code, tt.code)
		}
		if got := fmt.Sprint(err); tt.finding == "" && err != nil || tt.finding != "" && !strings.Contains(got, tt.finding) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.finding)
		} else if strings.Contains(got, token[10:]) || strings.Contains(got, master[6:]) || strings.Contains(got, secret[50:]) {
			t.Errorf("%s: the finding repeats the secret", tt.name)
		}
		if tt.shown != "" && !strings.HasPrefix(out.String(), tt.shown) {
			t.Errorf("%s: shows %d bytes that are not %q", tt.name, out.Len(), tt.shown[:min(20, len(tt.shown))])
		}
	}
}

// What a run shows is what go test shows without -json.
func TestWhatIsShown(t *testing.T) {
	var out strings.Builder
	r := newReader(&scan{}, &out)
	for _, part := range []string{
		`{"Action":"start","Package":"p"}`, "\n",
		`{"Action":"output","Package":"p","Test":"TestGood","Output":"=== RUN   TestGood\n"}`, "\n",
		`{"Action":"output","Package":"p","Test":"TestGood","Output":"    said by a good one\n"}`, "\n",
		`{"Action":"pass","Package":"p","Test":"TestGood"}`, "\n",
		`{"Action":"output","Package":"p","Test":"TestBad","Outp`, `ut":"    bad: it is wrong\n"}`, "\n",
		`{"Action":"output","Package":"p","Test":"TestBad","Output":"--- FAIL: TestBad (0.00s)\n"}`, "\n",
		`{"Action":"fail","Package":"p","Test":"TestBad"}`, "\n",
		`{"Action":"output","Package":"p","Test":"TestPanics","Output":"panic: gone\n"}`, "\n",
		`{"Action":"output","Package":"p","Output":"FAIL\tp\t0.1s\n"}`, "\n",
		`{"Action":"fail","Package":"p"}`, "\n",
		`{"ImportPath":"q","Action":"build-output","Output":"q.go:1: no such thing\n"}`, "\n",
		"{ not an event\n", "plain text",
	} {
		if _, err := r.Write([]byte(part)); err != nil {
			t.Fatal(err)
		}
	}
	r.end()
	const want = "    bad: it is wrong\n--- FAIL: TestBad (0.00s)\nFAIL\tp\t0.1s\npanic: gone\nq.go:1: no such thing\n{ not an event\nplain text\n"
	if out.String() != want {
		t.Errorf("shown:\n%s\nwant:\n%s", &out, want)
	}
}
