package app

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/sentryagent/agentidp/internal/config"
	"github.com/sentryagent/agentidp/internal/limit"
	"github.com/sentryagent/agentidp/internal/pace"
)

// Clients that are slow on purpose: the server ends what they do by its own
// deadlines, which are short here, and whoever is honest is answered meanwhile, also
// where one request may be in work at a time. No test depends on how fast anything
// is: each waits for the end of the connection.

const (
	short = 300 * time.Millisecond
	long  = time.Minute // nothing here waits for it
)

// slowWorld has one place of each kind, and deadlines that the test chooses.
func slowWorld(t *testing.T, deadlines func(*http.Server), options ...option) (w *world, honest func()) {
	t.Helper()
	w = newWorld(t)
	agent := w.agentWithPolicy(w.admin())
	w.tune = func(s *http.Server) {
		s.ReadHeaderTimeout, s.ReadTimeout, s.WriteTimeout, s.IdleTimeout = long, long, long, long
		deadlines(s)
	}
	w.restart(append(options, func(c *config.Config) { c.Concurrency = 1 })...)
	admin := w.admin()
	return w, func() {
		t.Helper()
		w.want(w.exchange(exchangeBody(w.mint(), agent)), 200)
		w.want(w.do("GET", agentsPath, admin, nil), 200)
		w.want(w.do("GET", "/.well-known/jwks.json", "", nil), 200)
	}
}

// connect opens a connection, and returns with it what reads until the server closes
// it.
func (w *world) connect(begin string) (conn net.Conn, ended func() string) {
	w.t.Helper()
	conn, err := net.Dial("tcp", w.app.Address())
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { conn.Close() })
	if _, err := io.WriteString(conn, begin); err != nil {
		w.t.Fatal(err)
	}
	return conn, func() string {
		w.t.Helper()
		_ = conn.SetReadDeadline(time.Now().Add(long / 2))
		all, err := io.ReadAll(conn)
		if os.IsTimeout(err) {
			w.t.Fatal("the server keeps the connection")
		}
		return string(all)
	}
}

// drip sends a byte now and then until the connection is gone.
func drip(conn net.Conn) {
	for {
		if _, err := conn.Write([]byte{'x'}); err != nil {
			return
		}
		time.Sleep(short / 10)
	}
}

const slowPost = "POST " + exchangePath + " HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 60000\r\n\r\n{\"token\":\""

func TestA202HeadersThatDrip(t *testing.T) {
	t.Parallel()
	w, honest := slowWorld(t, func(s *http.Server) { s.ReadHeaderTimeout = short })
	var ends []func() string
	for range 20 {
		conn, ended := w.connect("GET / HTTP/1.1\r\nHost: x\r\nX-Slow: ")
		go drip(conn)
		ends = append(ends, ended)
	}
	honest()
	for _, ended := range ends {
		ended()
	}
}

func TestA202BodiesThatDrip(t *testing.T) {
	t.Parallel()
	w, honest := slowWorld(t, func(s *http.Server) { s.ReadTimeout = 20 * short })
	var ends []func() string
	for _, begin := range []string{slowPost, strings.Replace(slowPost, exchangePath, "/oauth2/introspect", 1), strings.Replace(slowPost, exchangePath, agentsPath, 1)} {
		for range 10 {
			conn, ended := w.connect(begin)
			go drip(conn)
			ends = append(ends, ended)
		}
	}
	honest() // one place each, and none is taken by those who still send
	for _, ended := range ends {
		if all := ended(); all != "" && !strings.HasPrefix(all, "HTTP/1.1 4") {
			t.Errorf("answered with %.60q", all)
		}
	}
}

// A body that is too large is refused, or known to be, before all of it is there: nobody
// waits for the rest of it in a place.
func TestA202BodiesThatAreTooLargeAndNeverCome(t *testing.T) {
	t.Parallel()
	w, _ := slowWorld(t, func(s *http.Server) { s.ReadTimeout, s.WriteTimeout = 0, 0 })
	admin := w.admin()
	form := strings.NewReplacer("application/json", "application/x-www-form-urlencoded", "60000", "70000").Replace(slowPost)
	asAdmin := strings.NewReplacer(exchangePath, agentsPath, "Host: x", "Host: x\r\nAuthorization: Bearer "+admin).Replace(slowPost)
	chunked, _, _ := strings.Cut(strings.Replace(asAdmin, "Content-Length: 60000", "Transfer-Encoding: chunked", 1), "{")
	for _, begin := range []string{
		strings.Replace(form, exchangePath, "/oauth2/introspect", 1),
		strings.Replace(form, exchangePath, "/oauth2/revoke", 1),
		strings.Replace(asAdmin, "60000", "70000", 1),
		strings.Replace(strings.Replace(asAdmin, "60000", "70000", 1), "POST", "GET", 1),
		chunked + "11170\r\n" + strings.Repeat(" ", 70_000) + "\r\n",
	} {
		lines := strings.Count(w.logs.String(), `"msg":"request"`)
		w.connect(begin)
		pace.Eventually(t, "the work on it ends: "+begin[:40], func() bool { return strings.Count(w.logs.String(), `"msg":"request"`) > lines })
	}
}

// Who asks for much and reads nothing is cut off in the midst of an answer, and has
// no place meanwhile.
func TestA202AnswersThatAreNotRead(t *testing.T) {
	t.Parallel()
	w, honest := slowWorld(t, func(s *http.Server) { s.WriteTimeout = 20 * short })
	const many = 500 // of some 100 KB each, which no buffer takes
	conn, _ := w.connect("")
	go func() {
		_, _ = io.WriteString(conn, strings.Repeat("GET /api/v1/openapi.json HTTP/1.1\r\nHost: x\r\n\r\n", many))
	}()
	honest()
	w.want(w.do("GET", "/api/v1/openapi.json", "", nil), 200)
	pace.Eventually(t, "the server closes the connection", func() bool {
		_, err := conn.Write([]byte("\r\n"))
		return err != nil
	})
}

// Connections that do nothing: beyond the limit they are closed at once, those within
// it in their time, and the one that works goes on.
func TestA202IdleConnections(t *testing.T) {
	t.Parallel()
	const limit = 20
	w, honest := slowWorld(t, func(s *http.Server) { s.ReadHeaderTimeout = 10 * short }, func(c *config.Config) { c.AddressConnections = limit })
	working, _ := w.connect("")
	ask := func() {
		t.Helper()
		if _, err := io.WriteString(working, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		resp, err := http.ReadResponse(bufio.NewReader(working), nil)
		if err != nil || resp.StatusCode != 200 {
			t.Fatal(resp, err)
		}
		resp.Body.Close()
	}
	ask()
	ends := make(chan bool, 3*limit)
	for range cap(ends) {
		conn, err := net.Dial("tcp", w.app.Address())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		go func() {
			_ = conn.SetReadDeadline(time.Now().Add(long / 2))
			_, err := conn.Read(make([]byte, 1))
			ends <- err != nil && !os.IsTimeout(err)
		}()
	}
	for range cap(ends) {
		if !<-ends {
			t.Error("the server keeps an idle connection")
		}
	}
	ask()
	if log := w.logs.String(); !strings.Contains(log, "AGENTIDP_ADDRESS_CONNECTIONS") {
		t.Error("the log does not tell of the limit")
	}
	honest()
}

// So are those that were used once.
func TestA202ConnectionsThatIdleAfterARequest(t *testing.T) {
	t.Parallel()
	w, honest := slowWorld(t, func(s *http.Server) { s.IdleTimeout = short })
	_, ended := w.connect("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
	if all := ended(); !strings.HasPrefix(all, "HTTP/1.1 200") {
		t.Errorf("%.60q", all)
	}
	http.DefaultClient.CloseIdleConnections() // a POST is not sent again over one that the server just closes
	honest()
}

// Where all connections are taken by those who keep the server waiting, in a header, in a
// body, with nothing at all or with an answer that they do not read, the honest get in.
func TestA202WhoIsHonestFindsRoom(t *testing.T) {
	t.Parallel()
	const room = 12
	w, honest := slowWorld(t, func(*http.Server) {}, func(c *config.Config) { c.MaxConnections = room })
	http.DefaultClient.CloseIdleConnections()
	for _, begin := range []string{"", "GET / HTTP/1.1\r\nHost: x\r\n", slowPost, strings.Repeat("GET /api/v1/openapi.json HTTP/1.1\r\nHost: x\r\n\r\n", 30)} {
		for range room {
			w.connect(begin)
		}
		honest()
		http.DefaultClient.CloseIdleConnections()
	}
	if log := w.logs.String(); !strings.Contains(log, "AGENTIDP_MAX_CONNECTIONS") {
		t.Error("the log does not tell of the limit")
	}
}

// a body that is too large is a failure of its address.
func TestA199BodiesThatAreTooLargeAreCounted(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *config.Config) { c.AddressFailuresPerMinute = 3 })
	w.clock.freeze()
	for range 3 {
		if a := w.from("198.51.100.1", "", strings.Repeat(" ", 70_000)); a.Code != 413 {
			t.Errorf("answered %d", a.Code)
		}
	}
	if a := w.from("198.51.100.1", "", "{}"); a.Code != 429 {
		t.Errorf("the fourth request is answered %d", a.Code)
	}
	if a := w.from("198.51.100.2", "", "{}"); a.Code != 400 {
		t.Errorf("that of another address is answered %d", a.Code)
	}
}

// What was read ahead is the body, and what breaks off is none.
func TestReadingAhead(t *testing.T) {
	t.Parallel()
	share := limit.NewShare[netip.Addr](readAheadTotal)
	for _, tt := range []struct {
		name   string
		length int64
		body   io.Reader
		want   string
		ok     bool
	}{
		{"a body", 5, strings.NewReader("12345"), "12345", true},
		{"of unknown length", -1, strings.NewReader("12345"), "12345", true},
		{"none", 0, http.NoBody, "", true},
		{"the largest", 64 << 10, strings.NewReader(strings.Repeat("x", 64<<10)), strings.Repeat("x", 64<<10), true},
		{"a larger one of unknown length", -1, strings.NewReader(strings.Repeat("x", 70_000)), strings.Repeat("x", 70_000), true},
		{"one that is too large by its length", 70_000, strings.NewReader(strings.Repeat("x", 70_000)), strings.Repeat(" ", 64<<10+1), true},
		{"one that breaks off", 9, io.MultiReader(strings.NewReader("12345"), breaks{}), "", false},
	} {
		for range 2 { // the second may have the buffer of the first
			w, r := &response{}, &http.Request{ContentLength: tt.length, Body: io.NopCloser(tt.body)}
			if err := w.readAhead(r, share); (err == nil) != tt.ok {
				t.Errorf("%s: %v", tt.name, err)
			}
			if s, ok := tt.body.(*strings.Reader); ok && tt.length >= readAheadMost && s.Len() != int(tt.length) {
				t.Errorf("%s: %d bytes were read", tt.name, int(tt.length)-s.Len())
			}
			if got, err := io.ReadAll(r.Body); string(got) != tt.want || (err == nil) != tt.ok {
				t.Errorf("%s: %d bytes, %v", tt.name, len(got), err)
			}
			w.end()
			if s, ok := tt.body.(io.Seeker); ok {
				_, _ = s.Seek(0, io.SeekStart)
			}
		}
	}
}

type breaks struct{}

func (breaks) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }
