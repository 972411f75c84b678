package verify_test

import (
	"bufio"
	"context"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sentryagent/agentidp/internal/dnstest"
	"github.com/sentryagent/agentidp/internal/jose"
)

// over connections, however an answer is drawn out. In a bubble time is what
// synctest says, and a goroutine that stays behind fails the test.
func TestA177AnswersThatAreDrawnOut(t *testing.T) {
	t.Parallel()
	const status = "HTTP/1.1 200 OK\r\n"
	for name, tt := range map[string]struct{ scheme, said, again string }{
		"nothing behind the connection":           {"https", "", ""},
		"nothing behind the request":              {"http", "", ""},
		"a handshake that is one byte a second":   {"https", "", "\x16"},
		"a status line without end":               {"http", "HTTP/1.1 200 ", "O"},
		"a header without end":                    {"http", status + "X-Pad: ", "a"},
		"headers without end":                     {"http", status, "A: b\r\n"},
		"interim answers without end":             {"http", "", "HTTP/1.1 103 Early Hints\r\n\r\n"},
		"a body without length, a byte a second":  {"http", status + "\r\n{", " "},
		"a body that is as long as it may be":     {"http", status + "Content-Length: 262144\r\n\r\n{", " "},
		"a body in chunks, of a byte each":        {"http", status + "Transfer-Encoding: chunked\r\n\r\n", "1\r\n \r\n"},
		"a body that is whole, and trailers then": {"http", status + "Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n", "A: b\r\n"},
	} {
		w := newWorld(t, jose.ES256)
		token := w.good(t)
		w.provider.JWKSURI = tt.scheme + "://slow.internal/keys"
		w.config.Hosts = []string{"slow.internal"}
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w.config.SetDial(func(context.Context, string, string) (net.Conn, error) {
					ours, theirs := net.Pipe()
					go drawOut(theirs, tt.scheme == "http", tt.said, tt.again)
					return ours, nil
				})
				w.restart(t)
				began := time.Now()
				w.wantUnreachable(t, token)
				if d := time.Since(began); d != fetchTime {
					t.Errorf("gave up after %s", d)
				}
				w.wantFetches(t, 1)
				w.verifier.Close()
			})
		})
	}
}

// drawOut says something, and then the same again every second, to whoever listens.
func drawOut(conn net.Conn, request bool, said, again string) {
	defer conn.Close()
	gone := make(chan struct{})
	in := bufio.NewReader(conn)
	if request {
		if _, err := http.ReadRequest(in); err != nil {
			return
		}
	}
	go func() {
		defer close(gone)
		for {
			if _, err := in.ReadByte(); err != nil {
				return
			}
		}
	}()
	_, err := conn.Write([]byte(said))
	for err == nil {
		select {
		case <-time.After(time.Second):
			_, err = conn.Write([]byte(again))
		case <-gone:
			return
		}
	}
	<-gone
}

// whatever name servers do, a look-up costs no more than a fetch may take, known
// keys need none, and each failure is told for what it is.
func TestR26NameServersThatFail(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		how   dnstest.Failure
		after time.Duration
		says  string
	}{
		"nobody answers":          {dnstest.Silence, fetchTime, "keys.example"}, // the fetch's limit or the resolver's, which are equal
		"nobody is there":         {dnstest.Refusal, 0, "connection refused"},
		"a server that fails":     {dnstest.ServerFailure, 0, "server misbehaving"},
		"the name is nobody's":    {dnstest.NoSuchName, 0, "no such host"},
		"the name has no address": {dnstest.NoAddress, 0, "no such host"},
	} {
		w := newWorld(t, jose.ES256)
		token := w.good(t)
		w.provider.JWKSURI = strings.Replace(w.issuer.URL, "127.0.0.1", "keys.example", 1)
		w.config.Hosts = []string{strings.TrimPrefix(w.provider.JWKSURI, "https://")}
		// The net package keeps channels of its first look-up, which must be of no bubble.
		if _, err := dnstest.New(dnstest.Table(nil)).Resolver().LookupNetIP(t.Context(), "ip", "nobody.example"); err == nil {
			t.Fatal("a name of nobody")
		}
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				names := dnstest.New(dnstest.Table(map[string][]string{"keys.example": {"127.0.0.1"}}))
				names.Fail(tt.how)
				w.config.Resolver = names.Resolver()
				w.restart(t)
				began := time.Now()
				_, err := w.verify(t, token)
				if d := time.Since(began); d != tt.after || err == nil || !strings.Contains(err.Error(), tt.says) {
					t.Errorf("after %s: %v", d, err)
				}
				w.wantFetches(t, 1)
				w.verifier.Close()
				time.Sleep(time.Minute) // the resolver gives up by its own clock
			})
		})
	}
}
