package app

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/limit"
)

func TestSizes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	admin := w.admin()
	agent := w.agentWithPolicy(admin)
	padded := func(size int) string {
		body := fmt.Sprintf(`{"token":%q,"agentId":%q}`, w.subject(nil), agent)
		return body + strings.Repeat(" ", size-len(body))
	}
	w.want(w.do("POST", exchangePath, "", padded(64<<10)), 200)
	for _, path := range []string{exchangePath, agentsPath, policiesPath} {
		w.isProblem(w.want(w.do("POST", path, admin, padded(64<<10+1)), 413, agentidp.CodePayloadTooLarge))
	}
	t.Run("A-199 a length that is shorter than the body", func(t *testing.T) {
		w.in(t).want(w.do("POST", exchangePath, "", `{"token":"x"}`), 401, agentidp.CodeInvalidToken)
		if line := w.in(t).raw("POST " + exchangePath + " HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 5\r\n\r\n{\"token\":\"x\"}"); line != "HTTP/1.1 400 Bad Request" {
			t.Errorf("the first line is %q", line)
		}
	})
	t.Run("A-204 headers of 32 KiB", func(t *testing.T) {
		if a := w.in(t).do("GET", "/healthz", "", nil, "X-Long", strings.Repeat("x", 32<<10)); a.Status != 431 {
			t.Errorf("status %d", a.Status)
		}
	})
	t.Run("A-204 a thousand headers", func(t *testing.T) {
		var headers []string
		for i := range 1000 {
			headers = append(headers, fmt.Sprintf("X-%d", i), strings.Repeat("x", 32))
		}
		if a := w.in(t).do("GET", "/healthz", "", nil, headers...); a.Status != 431 {
			t.Errorf("status %d", a.Status)
		}
	})
	t.Run("A-204 two Authorization headers", func(t *testing.T) {
		if line := w.in(t).raw("GET " + agentsPath + " HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer x\r\nAuthorization: Bearer " + admin + "\r\n\r\n"); line != "HTTP/1.1 401 Unauthorized" {
			t.Errorf("the first line is %q", line)
		}
	})
	t.Run("other ways to present a token", func(t *testing.T) {
		w := w.in(t)
		for _, value := range []string{"Basic " + admin, admin, "Bearer", "Bearer ", "Bearer  " + admin, "Bearer " + admin + " x", "Bearer " + admin + ",Bearer " + admin, "Token " + admin} {
			w.isProblem(w.want(w.do("GET", agentsPath, "", nil, "Authorization", value), 401, agentidp.CodeInvalidToken))
		}
		w.want(w.do("GET", agentsPath, "", nil, "Authorization", "bearer "+admin), 200) // RFC 9110 §11.1
	})
}

// of a body that goes on for ten gigabytes, said or in chunks, the server reads
// little, refuses it, and closes the connection.
func TestA199BodiesOfTenGigabytes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var taken atomic.Int64
	w.tune = func(*http.Server) {
		inner, _ := w.app.listener.(*limit.Listener)
		inner.Listener = &meteredListener{inner.Listener, &taken}
	}
	w.restart()
	const (
		tenGigabytes = 10 << 30
		most         = 512 << 10 // 64 KiB, what net/http reads on for the client's sake (256 KiB), and buffers
	)
	sent := 0
	t.Run("all", func(t *testing.T) {
		for path, headers := range w.bodyDoors() {
			for name, frame := range map[string]string{"chunks": "Transfer-Encoding: chunked\r\n\r\n280000000\r\n", "a length": "Content-Length: 10737418240\r\n\r\n"} {
				sent++
				t.Run(path+", by "+name, func(t *testing.T) {
					t.Parallel()
					conn := w.in(t).dial("POST " + path + " HTTP/1.1\r\nHost: x\r\n" + headers + frame)
					defer conn.Close()
					ended := make(chan struct{})
					go func() {
						defer close(ended)
						_, _ = io.CopyN(conn, blank{}, tenGigabytes)
					}()
					line, err := bufio.NewReader(conn).ReadString('\n')
					if err != nil || line != "HTTP/1.1 413 Request Entity Too Large\r\n" {
						t.Errorf("%q, %v", line, err)
					}
					<-ended // with the connection
				})
			}
		}
	})
	if n := taken.Load(); n > int64(sent)*most {
		t.Errorf("the server read %d bytes of %d such bodies", n, sent)
	}
}

// meteredListener counts what is read from its connections.
type meteredListener struct {
	net.Listener
	taken *atomic.Int64
}

func (l *meteredListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	tcp, ok := c.(*net.TCPConn)
	if !ok {
		return nil, errors.New("not a connection of TCP")
	}
	return &metered{tcp, l.taken}, nil
}

type metered struct {
	*net.TCPConn // which can also end what it sends alone
	taken        *atomic.Int64
}

func (m *metered) Read(p []byte) (int, error) {
	n, err := m.TCPConn.Read(p)
	m.taken.Add(int64(n))
	return n, err
}

// whoever asks first whether to send is told, before he sends what is refused; and
// no other expectation is met (RFC 9110 §10.1.1).
func TestA199Expectations(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for path, headers := range w.bodyDoors() {
		for _, r := range []struct{ name, says, want string }{
			{"ten gigabytes", "Content-Length: 10737418240\r\nExpect: 100-continue\r\n", "HTTP/1.1 413 Request Entity Too Large"},
			{"one byte too much", "Content-Length: 65537\r\nExpect: 100-continue\r\n", "HTTP/1.1 413 Request Entity Too Large"},
			{"a good length", "Content-Length: 2\r\nExpect: 100-continue\r\n", "HTTP/1.1 100 Continue"},
			{"something else", "Content-Length: 2\r\nExpect: 200-ok\r\n", "HTTP/1.1 417 Expectation Failed"},
		} {
			if line := w.raw("POST " + path + " HTTP/1.1\r\nHost: x\r\n" + headers + r.says + "\r\n"); line != r.want {
				t.Errorf("%s, %s: %q, want %q", path, r.name, line, r.want)
			}
		}
	}
}

// bodyDoors are where bodies are read: each kind of body, before and after its caller is
// known.
func (w *world) bodyDoors() map[string]string {
	return map[string]string{
		exchangePath: "Content-Type: application/json\r\n", tokenPath: "Content-Type: " + formType + "\r\n",
		introspectionPath: "Content-Type: " + formType + "\r\n", revocationPath: "Content-Type: " + formType + "\r\n",
		agentsPath: "Content-Type: application/json\r\nAuthorization: Bearer " + w.admin() + "\r\n",
	}
}

// what a proxy in front may read otherwise than we do is refused, and nothing
// behind it is taken for another request.
func TestA201FramesThatCanBeReadInTwoWays(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const next = "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n" // which would be answered 200
	for name, request := range map[string]string{
		"two lengths":                          "Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
		"two lengths in one header":            "Content-Length: 2, 3\r\n\r\n{}",
		"a length with a sign":                 "Content-Length: +2\r\n\r\n{}",
		"a negative length":                    "Content-Length: -2\r\n\r\n{}",
		"a length in hexadecimal":              "Content-Length: 0x2\r\n\r\n{}",
		"an empty length":                      "Content-Length: \r\n\r\n{}",
		"a length beyond all numbers":          "Content-Length: 18446744073709551618\r\n\r\n{}",
		"chunks, twice":                        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"chunks, twice in one header":          "Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
		"chunks under another name":            "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
		"chunks of something":                  "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
		"chunks behind a vertical tab":         "Transfer-Encoding: \vchunked\r\n\r\n0\r\n\r\n",
		"a length and chunks of another name":  "Content-Length: 2\r\nTransfer-Encoding: identity\r\n\r\n{}",
		"a chunk that ends in a bare LF":       "Transfer-Encoding: chunked\r\n\r\n2\n{}\r\n0\r\n\r\n",
		"a chunk whose size ends in a bare CR": "Transfer-Encoding: chunked\r\n\r\n2\rX{}\r\n0\r\n\r\n",
		"an extension that ends in a bare LF":  "Transfer-Encoding: chunked\r\n\r\n2;a\nb\r\n{}\r\n0\r\n\r\n",
		"a chunk that is longer than it says":  "Transfer-Encoding: chunked\r\n\r\n1\r\n{}\r\n0\r\n\r\n",
		"a chunk of a negative size":           "Transfer-Encoding: chunked\r\n\r\n-2\r\n{}\r\n0\r\n\r\n",
		"a chunk of more than there is":        "Transfer-Encoding: chunked\r\n\r\nffffffffffffffff2\r\n{}\r\n0\r\n\r\n",
		"a space before the colon":             "Content-Length : 2\r\n\r\n{}",
		"a header without a name":              ": b\r\nContent-Length: 2\r\n\r\n{}",
		"two hosts":                            "Host: y\r\nContent-Length: 2\r\n\r\n{}",
		"a NUL in a header":                    "X-A: a\x00b\r\nContent-Length: 2\r\n\r\n{}",
		"a bare CR in a header":                "X-A: a\rb\r\nContent-Length: 2\r\n\r\n{}",
	} {
		t.Run("A-201 "+name, func(t *testing.T) {
			w := w.in(t)
			for path, headers := range w.bodyDoors() {
				all := w.untilTheEnd("POST " + path + " HTTP/1.1\r\nHost: x\r\n" + headers + request + next)
				if line, rest, _ := strings.Cut(all, "\r\n"); !strings.HasPrefix(line, "HTTP/1.1 400 ") && !strings.HasPrefix(line, "HTTP/1.1 501 ") || strings.Contains(rest, "HTTP/1.1 ") {
					t.Errorf("%s: %s", path, all)
				}
			}
		})
	}
	for name, request := range map[string]string{
		"no host":                     "GET /healthz HTTP/1.1\r\n\r\n",
		"a version that there is not": "GET /healthz HTTP/9.9\r\nHost: x\r\n\r\n",
		"no version":                  "GET /healthz\r\n\r\n",
	} {
		if all := w.untilTheEnd(request + next); !strings.HasPrefix(all, "HTTP/1.1 400 ") && !strings.HasPrefix(all, "HTTP/1.1 505 ") || strings.Contains(all, "200 OK") {
			t.Errorf("A-201 %s: %s", name, all)
		}
	}
}

// RFC 9112 §6.3: chunks win over a length; §6.1: HTTP/1.0 has no chunks. Either way the
// connection ends with the answer, so that what one reader takes for the body's end and
// another for a request is nobody's request here.
func TestA201NothingFollowsWhatHasTwoEnds(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const next = "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
	for _, r := range []struct{ name, version, headers, body string }{
		{"a length and chunks", "1.1", "Content-Length: 6\r\nTransfer-Encoding: chunked\r\n", "2\r\n{}\r\n0\r\n\r\n" + next},
		{"chunks and a length that ends behind them", "1.1", "Transfer-Encoding: chunked\r\nContent-Length: 300\r\n", "0\r\n\r\n" + next},
		{"chunks and trailers", "1.1", "Transfer-Encoding: chunked\r\nTrailer: X-A\r\n", "0\r\nX-A: " + strings.Repeat("a", 100) + "\r\n\r\n" + next},
		{"chunks, said in a folded line", "1.1", "Content-Length: 6\r\nTransfer-Encoding:\r\n chunked\r\n", "2\r\n{}\r\n0\r\n\r\n" + next}, // which is one line (§5.2)
		{"HTTP/1.0 with chunks", "1.0", "Connection: keep-alive\r\nTransfer-Encoding: chunked\r\n", next},
		{"HTTP/1.0 with a length and chunks", "1.0", "Connection: keep-alive\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n", "{}" + next},
		{"HTTP/1.0 with chunks of another name", "1.0", "Connection: keep-alive\r\nContent-Length: 2\r\nTransfer-Encoding: xchunked\r\n", "{}" + next},
	} {
		t.Run("A-201 "+r.name, func(t *testing.T) {
			w := w.in(t)
			for path, headers := range w.bodyDoors() {
				all := w.untilTheEnd("POST " + path + " HTTP/" + r.version + "\r\nHost: x\r\n" + headers + r.headers + "\r\n" + r.body)
				if strings.Count(all, "\r\nX-Request-Id: ") != 1 || strings.Contains(all, "200 OK") || !strings.Contains(all, "\r\nConnection: close\r\n") {
					t.Errorf("%s: %s", path, all)
				}
			}
		})
	}
}

// raw sends bytes as they are and returns the first line of the answer.
func (w *world) raw(request string) string {
	w.t.Helper()
	conn := w.dial(request)
	defer conn.Close()
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil {
		w.t.Fatal(err)
	}
	return strings.TrimSpace(line)
}

// untilTheEnd sends bytes as they are and returns all that comes until the server
// closes the connection.
func (w *world) untilTheEnd(request string) string {
	w.t.Helper()
	conn := w.dial(request)
	defer conn.Close()
	all, err := io.ReadAll(conn)
	if err != nil {
		w.t.Fatal(err)
	}
	return string(all)
}

func (w *world) dial(request string) net.Conn {
	w.t.Helper()
	conn, err := net.Dial("tcp", w.app.Address())
	if err != nil {
		w.t.Fatal(err)
	}
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := io.WriteString(conn, request); err != nil {
		w.t.Fatal(err)
	}
	return conn
}
