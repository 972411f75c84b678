package cli

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sentryagent/agentidp"
)

// abused is a server that is attacked, and the honest one who wants a token of it.
type abused struct {
	*installation
	agentID string
	next    atomic.Uint32 // address that somebody comes from
	roots   *x509.CertPool
}

// newAbused has the limits that servers have, unless settings say otherwise.
func newAbused(t *testing.T, settings ...string) *abused {
	t.Helper()
	return &abused{installation: newInstallation(t, append([]string{
		"AGENTIDP_REFUSALS_PER_MINUTE=60", "AGENTIDP_ADDRESS_REQUESTS_PER_MINUTE=12000", "AGENTIDP_ADDRESS_FAILURES_PER_MINUTE=300", "AGENTIDP_CONCURRENCY=0",
	}, settings...)...)}
}

// secure has the server speak TLS, and with it HTTP/2.
func (a *abused) secure() {
	a.t.Helper()
	cert, key := filepath.Join(a.t.TempDir(), "tls.crt"), filepath.Join(a.t.TempDir(), "tls.key")
	a.roots = x509.NewCertPool()
	writeCertificate(a.t, cert, key, 1, a.roots)
	a.url = "https://localhost:8080"
	a.env = append(a.env, "AGENTIDP_PUBLIC_URL="+a.url, "AGENTIDP_TLS_CERT_FILE="+cert, "AGENTIDP_TLS_KEY_FILE="+key)
	a.http.Transport.(*http.Transport).TLSClientConfig = &tls.Config{RootCAs: a.roots, MinVersion: tls.VersionTLS12}
}

// begin starts the server and registers the agent.
func (a *abused) begin() {
	a.t.Helper()
	a.start()
	ctx := a.t.Context()
	admin := a.client(a.program("admin", "token"))
	agent, err := admin.RegisterAgent(ctx, agentidp.AgentSpec{Name: "deployer@acme.example"})
	if err != nil {
		a.t.Fatal(err)
	}
	if _, err := admin.CreateTrustPolicy(ctx, agentidp.TrustPolicySpec{Provider: "github", Repository: "acme/deploy", AgentID: agent.AgentID}); err != nil {
		a.t.Fatal(err)
	}
	a.agentID = agent.AgentID
}

// honest exchanges once, over a new connection as a job does, and returns the status of the
// answer. It does not try again.
func (a *abused) honest() (int, error) {
	body, err := json.Marshal(map[string]string{"token": a.subject("acme/deploy", "refs/heads/main"), "agentId": a.agentID})
	if err != nil {
		return 0, err
	}
	transport := a.http.Transport.(*http.Transport).Clone()
	defer transport.CloseIdleConnections()
	transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) { return a.dial(ctx, 10) }
	resp, err := (&http.Client{Timeout: time.Minute, Transport: transport}).Post(a.url+"/api/v1/oidc/token", "application/json", strings.NewReader(string(body)))
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode, err
}

// granted is an honest exchange that nothing may keep from its token.
func (a *abused) granted(when string) {
	a.t.Helper()
	if status, err := a.honest(); status != http.StatusOK || err != nil {
		a.t.Errorf("an honest exchange %s: %d, %v", when, status, err)
	}
}

// dial connects from the next address of a network; all of 127.0.0.0/8 is this machine's.
func (a *abused) dial(ctx context.Context, network byte) (net.Conn, error) {
	n := a.next.Add(1)
	d := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, network, byte(n>>8), byte(n))}}
	return d.DialContext(ctx, "tcp", a.address.Load().(string))
}

// attack is what somebody does with a connection until it ends.
type attack struct {
	name        string
	protocol    string // over TLS
	connections int
	do          func(conn net.Conn) error
}

// under lets all attacks go on, from address to address, until stop is called.
func (a *abused) under(attacks []attack) (stop func()) {
	ctx, cancel := context.WithCancel(a.t.Context())
	var wg sync.WaitGroup
	for _, one := range attacks {
		for range one.connections {
			wg.Go(func() {
				for ctx.Err() == nil {
					conn, err := a.dial(ctx, 20)
					if err != nil {
						time.Sleep(time.Millisecond) // no port or no server, for now
						continue
					}
					closed := context.AfterFunc(ctx, func() { conn.Close() })
					_ = one.do(a.over(conn, one.protocol)) // the server ends it, as it should
					closed()
					conn.Close()
				}
			})
		}
	}
	return func() { cancel(); wg.Wait() }
}

// over speaks TLS on a connection, if the server does.
func (a *abused) over(conn net.Conn, protocol string) net.Conn {
	if a.roots == nil {
		return conn
	}
	return tls.Client(conn, &tls.Config{RootCAs: a.roots, ServerName: "localhost", NextProtos: []string{protocol}, MinVersion: tls.VersionTLS12})
}

// resets begins requests of HTTP/2 and takes them back at once.
func resets(conn net.Conn) error {
	frame := func(kind, flags byte, stream uint32, payload []byte) []byte {
		head := binary.BigEndian.AppendUint32([]byte{0, 0, byte(len(payload)), kind, flags}, stream)
		return append(head, payload...)
	}
	const headers, reset, settings, endHeaders, cancel, path = 1, 3, 4, 4, 8, "/api/v1/oidc/token"
	request := slices.Concat([]byte{0x83, 0x87, 0x04, byte(len(path))}, []byte(path), []byte{0x01, 1, 'h'}) // RFC 7541
	b := append([]byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), frame(settings, 0, 0, nil)...)
	go func() { _, _ = io.Copy(io.Discard, conn) }() // until it is closed
	for stream := uint32(1); ; stream += 2 {
		b = append(append(b, frame(headers, endHeaders, stream, request)...), frame(reset, 0, stream, []byte{0, 0, 0, cancel})...)
		if _, err := conn.Write(b); err != nil {
			return err
		}
		b = b[:0]
	}
}

const postExchange = "POST /api/v1/oidc/token HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"

// again sends requests with these bodies until the connection ends.
func again(bodies ...string) func(net.Conn) error {
	return func(conn net.Conn) error {
		r := bufio.NewReader(conn)
		for i := 0; ; i++ {
			body := bodies[i%len(bodies)]
			if _, err := fmt.Fprintf(conn, "%sContent-Length: %d\r\n\r\n%s", postExchange, len(body), body); err != nil {
				return err
			}
			resp, err := http.ReadResponse(r, nil)
			if err != nil {
				return err
			}
			_, err = io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
			if err != nil || resp.Close || resp.StatusCode == http.StatusTooManyRequests {
				return err
			}
		}
	}
}

// slowly sends a beginning, and then some more now and then.
func slowly(begin, more string) func(net.Conn) error {
	return func(conn net.Conn) error {
		_, err := io.WriteString(conn, begin)
		for err == nil {
			time.Sleep(100 * time.Millisecond)
			_, err = io.WriteString(conn, more)
		}
		return err
	}
}

const http1 = "http/1.1"

// everything is what a stranger can do, all of it at once.
func (a *abused) everything(each int) []attack {
	forged := func(head string) string {
		token := a.subject("acme/deploy", "refs/heads/main")
		parts := strings.Split(token, ".")
		if head != "" {
			parts[0] = base64.RawURLEncoding.EncodeToString([]byte(head))
		}
		body, _ := json.Marshal(map[string]string{"token": parts[0] + "." + parts[1] + "." + base64.RawURLEncoding.EncodeToString([]byte(strings.Repeat("x", 256))), "agentId": a.agentID}) // strings
		return string(body)
	}
	var kids []string
	for i := range 500 {
		kids = append(kids, forged(fmt.Sprintf(`{"alg":"RS256","typ":"JWT","kid":"nobody-%d"}`, i)))
	}
	return []attack{
		{"forged signatures", http1, each, again(forged(""))},
		{"unknown keys", http1, each, again(kids...)},
		{"garbage", http1, each, again(strings.Repeat("\xff", 1000), "{", "[]")},
		{"dots", http1, each, again(`{"token":"` + strings.Repeat(".", 65_000) + `"}`)},
		{"deep documents", http1, each, again(strings.Repeat("[", 65_000))},
		{"headers that never end", http1, each, slowly(postExchange, "X-Slow: yes\r\n")},
		{"bodies that never end", http1, each, slowly(postExchange+"Content-Length: 60000\r\n\r\n{", strings.Repeat(" ", 500))},
		{"bodies without end", http1, each, slowly(postExchange+"Transfer-Encoding: chunked\r\n\r\n", "8000\r\n"+strings.Repeat(" ", 0x8000)+"\r\n")},
		{"answers that nobody reads", http1, each, slowly(strings.Repeat("GET /api/v1/openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n", 10), "\r\n")},
		{"nothing", http1, 10 * each, func(conn net.Conn) error {
			_, err := io.Copy(io.Discard, conn)
			return err
		}},
		{"streams that are reset", "h2", each, resets},
	}
}
