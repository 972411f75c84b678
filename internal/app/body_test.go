package app

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/config"
	"github.com/sentryagent/agentidp/internal/limit"
)

// stalled is a body of which the server has read all that was written, and waits for
// the rest.
type stalled struct {
	*io.PipeWriter
	answer chan *httptest.ResponseRecorder
}

// stall sends an exchange of 60,000 bytes from an address, and stops after some of them.
func (w *world) stall(address string, sent int) stalled {
	w.t.Helper()
	body, sender := io.Pipe()
	s := stalled{sender, make(chan *httptest.ResponseRecorder, 1)}
	go func() {
		s.answer <- w.post(address, exchangePath, "", 60_000, body)
		body.Close()
	}()
	if _, err := sender.Write(make([]byte, sent)); err != nil { // returns when the server has read it
		w.t.Fatalf("%s is not heard to the end: %v", address, err)
	}
	return s
}

// post hands a body to the handler as it comes from an address.
func (w *world) post(address, path, bearer string, length int64, body io.Reader) *httptest.ResponseRecorder {
	r := httptest.NewRequestWithContext(w.t.Context(), http.MethodPost, path, body)
	r.RemoteAddr, r.ContentLength = address+":4711", length
	r.Header.Set("Content-Type", "application/json")
	if bearer != "" {
		r.Header.Set("Authorization", "Bearer "+bearer)
	}
	answer := httptest.NewRecorder()
	w.app.http.Handler.ServeHTTP(answer, r)
	return answer
}

// bodies that do not come have a bounded memory, of which no address has more
// than a quarter, and large ones leave room for those that are as small as an exchange.
func TestBodiesThatNeverComeHaveABoundedMemory(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	admin := w.admin()
	agent := w.agentWithPolicy(admin)
	w.app.entrance.exchangeBodies = limit.NewShare[netip.Addr](16 * blockSize) // four for an address, three of them for what is large
	small := func(address string) int {
		return w.from(address, "", `{"token":"`+w.mint()+`","agentId":"`+agent+`"}`).Code
	}
	large := func(address string) *httptest.ResponseRecorder {
		return w.post(address, exchangePath, "", 9_000, strings.NewReader(`{"token":"x"`+strings.Repeat(" ", 9_000-13)+"}"))
	}
	stalls := []stalled{w.stall("198.51.100.1", 3*blockSize-1)}
	a := large("198.51.100.1")
	if a.Code != 503 || a.Header().Get("Retry-After") != "1" || !strings.Contains(a.Body.String(), agentidp.CodeTemporarilyUnavailable) {
		t.Errorf("a large body of the same address: %d %v %s", a.Code, a.Header(), a.Body)
	}
	if a := large("198.51.100.2"); a.Code != 401 {
		t.Errorf("of another one: %d %s", a.Code, a.Body)
	}
	for _, address := range []string{"198.51.100.2", "198.51.100.3", "[2001:db8::1]"} {
		stalls = append(stalls, w.stall(address, 3*blockSize-1))
	}
	for _, address := range []string{"198.51.100.1", "203.0.113.1"} {
		if a := large(address); a.Code != 503 {
			t.Errorf("a large body from %s when they have all: %d", address, a.Code)
		}
		if status := small(address); status != 200 {
			t.Errorf("a small body from %s: %d", address, status)
		}
	}
	if a := w.post("198.51.100.1", agentsPath, admin, 9_000, strings.NewReader(`{"name":"x@ci.acme.example"`+strings.Repeat(" ", 9_000-28)+"}")); a.Code != 201 {
		t.Errorf("what is no exchange: %d %s", a.Code, a.Body)
	}
	go func() { // it grows beyond what the address may have
		_, _ = stalls[0].Write(make([]byte, 2))
		stalls[0].CloseWithError(io.ErrUnexpectedEOF)
	}()
	if a := <-stalls[0].answer; a.Code != 503 {
		t.Errorf("a body that grows: %d", a.Code)
	}
	for _, s := range stalls[1:] {
		s.CloseWithError(io.ErrUnexpectedEOF)
		if a := <-s.answer; a.Code != 400 {
			t.Errorf("a body that breaks off: %d", a.Code)
		}
	}
	for range 20 { // all that was held is given back, however it ended
		if a := large("198.51.100.1"); a.Code != 401 {
			t.Fatalf("afterwards: %d", a.Code)
		}
		if a := w.post("198.51.100.1", agentsPath, "wrong", 9_000, strings.NewReader(strings.Repeat(" ", 9_000))); a.Code != 401 {
			t.Fatalf("a body that no handler reads: %d", a.Code)
		}
	}
}

// The memory is given back with the first byte of the answer, which a client may read as
// slowly as it likes.
func TestAnAnswerHasNoMemoryOfTheBody(t *testing.T) {
	t.Parallel()
	share := limit.NewShare[netip.Addr](4 * blockSize) // one block for an address
	w := &response{ResponseWriter: httptest.NewRecorder()}
	r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader("{}"))
	if err := w.readAhead(r, share); err != nil {
		t.Fatal(err)
	}
	if share.Take(netip.Addr{}, blockSize, false) {
		t.Error("the body has no block")
	}
	w.WriteHeader(401)
	if !share.Take(netip.Addr{}, blockSize, false) {
		t.Error("the answer has one")
	}
	if rest, err := io.ReadAll(r.Body); len(rest) != 0 || err != nil {
		t.Errorf("%q, %v", rest, err)
	}
	w.end()
}

// A client that sends the rest later, or never, reads the refusal at once.
func TestABodyWithoutRoomIsNotWaitedFor(t *testing.T) {
	t.Parallel()
	w, _ := slowWorld(t, func(*http.Server) {})
	w.app.entrance.exchangeBodies = limit.NewShare[netip.Addr](0)
	if line := w.raw(slowPost); line != "HTTP/1.1 503 Service Unavailable" {
		t.Errorf("the first line is %q", line)
	}
}

// A body that never comes is a failure of the address: it proved nothing, and cost memory.
func TestBodiesThatNeverComeAreCounted(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *config.Config) { c.AddressFailuresPerMinute = 3 })
	w.clock.freeze()
	admin := w.admin()
	for i := range 5 {
		want := 400
		if i >= 3 {
			want = 429
		}
		if a := w.post("198.51.100.1", exchangePath, "", 60_000, io.MultiReader(strings.NewReader("{"), breaks{})); a.Code != want {
			t.Errorf("body %d: %d %s", i, a.Code, a.Body)
		}
	}
	if a := w.from("198.51.100.2", admin, ""); a.Code != 200 {
		t.Errorf("another address: %d", a.Code)
	}
}

// until is a client over a connection whose reads somebody can end.
type until struct {
	*httptest.ResponseRecorder
	body *io.PipeReader
}

func (u until) SetReadDeadline(time.Time) error { return u.body.CloseWithError(os.ErrDeadlineExceeded) }

// four addresses with many bodies that do not come, each of a few bytes, take
// no exchange its memory: the one that has waited longest makes room, and is a failure.
func TestABodyThatDoesNotComeMakesRoom(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	admin := w.admin()
	agent := w.agentWithPolicy(admin)
	w.app.entrance.exchangeBodies = limit.NewShare[netip.Addr](4 * blockSize)
	answers := make(chan *httptest.ResponseRecorder, 4)
	for _, address := range []string{"198.51.100.1", "198.51.100.2", "198.51.100.3", "198.51.100.4"} {
		body, sender := io.Pipe()
		defer func() { _ = sender.Close() }()
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, exchangePath, body)
		r.RemoteAddr, r.ContentLength = address+":4711", 100
		go func() {
			u := until{httptest.NewRecorder(), body}
			w.app.http.Handler.ServeHTTP(u, r)
			answers <- u.ResponseRecorder
		}()
		if _, err := sender.Write([]byte("{")); err != nil {
			t.Fatal(err)
		}
	}
	if a := w.from("203.0.113.1", "", `{"token":"`+w.mint()+`","agentId":"`+agent+`"}`); a.Code != 200 {
		t.Fatalf("an exchange meanwhile: %d %s", a.Code, a.Body)
	}
	if a := <-answers; a.Code != 503 || a.Header().Get("Retry-After") != "1" {
		t.Errorf("what made room: %d %v %s", a.Code, a.Header(), a.Body)
	}
}
