package app

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sentryagent/agentidp/internal/config"
)

// h2 is a client of HTTP/2 that does what no library lets one do (RFC 9113).
type h2 struct {
	t    *testing.T
	conn *tls.Conn
	r    *bufio.Reader
}

type frame struct {
	kind, flags byte
	stream      uint32
	payload     []byte
}

// The frames and flags that the tests need.
const (
	dataFrame, headersFrame, priorityFrame, resetFrame, settingsFrame, pingFrame, goAwayFrame, windowFrame, continuationFrame = 0, 1, 2, 3, 4, 6, 7, 8, 9

	endStream, endHeaders, ack = 1, 4, 1

	protocolError, cancel = 1, 8
)

// dialH2 connects from another address than whoever is honest has.
func dialH2(t *testing.T, w *world, p *pair) *h2 {
	t.Helper()
	plain, err := w.dialFrom("127.0.0.2")
	if err != nil {
		t.Fatal(err)
	}
	conn := tls.Client(plain, &tls.Config{RootCAs: p.roots, NextProtos: []string{"h2"}, ServerName: "127.0.0.1"})
	t.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(time.Minute)) // the test hangs no longer
	c := &h2{t, conn, bufio.NewReader(conn)}
	if _, err := io.WriteString(conn, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if err := c.send(frame{kind: settingsFrame}); err != nil {
		t.Fatal(err)
	}
	return c
}

// speaks asserts what a new connection that can do both is spoken to in, and leaves it open.
func (p *pair) speaks(t *testing.T, w *world, protocol string) {
	t.Helper()
	plain, err := w.dialFrom("127.0.0.2")
	if err != nil {
		t.Fatal(err)
	}
	conn := tls.Client(plain, &tls.Config{RootCAs: p.roots, NextProtos: []string{"h2", "http/1.1"}, ServerName: "127.0.0.1"})
	t.Cleanup(func() { conn.Close() })
	if err := conn.HandshakeContext(t.Context()); err != nil || conn.ConnectionState().NegotiatedProtocol != protocol {
		t.Errorf("%q, %v; want %s", conn.ConnectionState().NegotiatedProtocol, err, protocol)
	}
}

func encode(f frame) []byte {
	b := []byte{byte(len(f.payload) >> 16), byte(len(f.payload) >> 8), byte(len(f.payload)), f.kind, f.flags}
	return append(binary.BigEndian.AppendUint32(b, f.stream), f.payload...)
}

func (c *h2) send(frames ...frame) error {
	var b []byte
	for _, f := range frames {
		b = append(b, encode(f)...)
	}
	_, err := c.conn.Write(b)
	return err
}

func (c *h2) read() (frame, error) {
	head := make([]byte, 9)
	if _, err := io.ReadFull(c.r, head); err != nil {
		return frame{}, err
	}
	f := frame{kind: head[3], flags: head[4], stream: binary.BigEndian.Uint32(head[5:]), payload: make([]byte, int(head[0])<<16|int(head[1])<<8|int(head[2]))}
	_, err := io.ReadFull(c.r, f.payload)
	return f, err
}

// settings reads until the server has told its settings and taken ours.
func (c *h2) settings() map[uint16]uint32 {
	c.t.Helper()
	told := map[uint16]uint32{}
	for {
		f, err := c.read()
		if err != nil {
			c.t.Fatal(err)
		}
		if f.kind == settingsFrame && f.flags&ack != 0 {
			return told
		}
		if f.kind == settingsFrame {
			for one := range slices.Chunk(f.payload, 6) {
				told[binary.BigEndian.Uint16(one)] = binary.BigEndian.Uint32(one[2:])
			}
			if err := c.send(frame{kind: settingsFrame, flags: ack}); err != nil {
				c.t.Fatal(err)
			}
		}
	}
}

// h2Request is a header block (RFC 7541) with the method by its number in the static
// table, 2 for GET and 3 for POST, here of a form.
func h2Request(method byte, path string) []byte {
	const form = "application/x-www-form-urlencoded"
	return slices.Concat([]byte{0x80 | method, 0x87, 0x04, byte(len(path))}, []byte(path), []byte{0x01, 1, 'h', 0x0f, 0x10, byte(len(form))}, []byte(form))
}

// what one connection may have going on at once is bounded.
func TestA203AConnectionHasAHundredRequestsAtOnce(t *testing.T) {
	t.Parallel()
	w, p := newTLSWorld(t, month)
	c := dialH2(t, w, p)
	const maxConcurrentStreams = 3 // the setting's number
	if got := c.settings()[maxConcurrentStreams]; got != 100 {
		t.Fatalf("the server tells a limit of %d", got)
	}
	var frames []frame
	const sent = 250
	for i := range sent { // requests whose body never comes
		frames = append(frames, frame{headersFrame, endHeaders, uint32(2*i + 1), h2Request(3, "/oauth2/revoke")})
	}
	if err := c.send(frames...); err != nil {
		t.Fatal(err)
	}
	refused := 0
	for refused < sent-100 {
		f, err := c.read()
		if err != nil {
			t.Fatalf("after %d refusals: %v", refused, err)
		}
		if f.kind != resetFrame || binary.BigEndian.Uint32(f.payload) != protocolError {
			continue
		}
		if f.stream < 201 {
			t.Fatalf("request %d is refused, one of the first hundred", f.stream/2+1)
		}
		refused++
	}
	if _, err := p.client(t, nil).Get(w.app.URL() + "/healthz"); err != nil {
		t.Errorf("another connection: %v", err)
	}
}

// requests that are taken back at once are not worked on without end
// (CVE-2023-44487).
func TestA203AConnectionThatResetsAllItsRequestsHarmsNobody(t *testing.T) {
	t.Parallel()
	w, p := newTLSWorld(t, month)
	seen := w.counting()
	w.restart()
	c := dialH2(t, w, p)
	c.settings()
	go func() {
		for i := range uint32(10_000) {
			id := 2*i + 1
			if c.send(frame{headersFrame, endHeaders, id, h2Request(3, "/oauth2/revoke")}, frame{resetFrame, 0, id, []byte{0, 0, 0, cancel}}) != nil {
				return
			}
		}
		c.send(frame{kind: pingFrame, payload: make([]byte, 8)})
	}()
	for { // the server has either done with them all, or has had enough
		f, err := c.read()
		if err != nil || f.kind == goAwayFrame || f.kind == pingFrame && f.flags&ack != 0 {
			break
		}
	}
	resp, err := p.client(t, nil).Get(w.app.URL() + "/readyz")
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Errorf("another connection: %v %v", resp, err)
	}
	c.conn.Close()
	if begun, most := seen.begun.Load(), seen.most.Load(); begun == 0 || most > 100+1 { // of this connection, and readiness
		t.Errorf("%d were worked on, %d at once", begun, most)
	}
	if log := w.logs.String(); strings.Contains(log, "panic") {
		t.Error(log)
	}
}

// a header without end ends the connection (CVE-2023-45288).
func TestA203AHeaderWithoutEndEndsTheConnection(t *testing.T) {
	t.Parallel()
	w, p := newTLSWorld(t, month)
	c := dialH2(t, w, p)
	c.settings()
	var field []byte // x: aaa…
	field = append(field, 0x00, 1, 'x', 0x7f, 0xa1, 0x1e)
	field = append(field, strings.Repeat("a", 4000)...)
	if err := c.send(frame{headersFrame, endStream, 1, h2Request(2, "/healthz")}); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			if f, err := c.read(); err != nil || f.kind == goAwayFrame {
				return
			}
		}
	}()
	const most = 64 << 20 // a header may have 16 KiB; the rest is what buffers on the way hold
	for sent, over := 0, false; !over; sent += len(field) {
		if sent > most {
			t.Fatalf("the server took %d bytes of one header", sent)
		}
		select {
		case <-ended:
			over = true
		default:
			over = c.send(frame{continuationFrame, 0, 1, field}) != nil
		}
	}
	if _, err := p.client(t, nil).Get(w.app.URL() + "/healthz"); err != nil {
		t.Errorf("another connection: %v", err)
	}
}

// frames that cost their sender next to nothing, by the hundred thousand, with
// nobody who reads what they are answered (CVE-2019-9512, 9514, 9515, 9518). What waits to
// be sent is bounded, and so is what is worked on; and a header over the limit is refused
//
func TestA203FramesWithoutEnd(t *testing.T) {
	t.Parallel()
	w, p := newTLSWorld(t, month)
	seen := w.counting()
	w.tuneAlso(func(s *http.Server) { s.ReadTimeout, s.WriteTimeout, s.IdleTimeout = 4*short, 4*short, 4*short })
	w.restart()
	empty := frame{dataFrame, 0, 1, nil}
	for name, flood := range map[string]frame{
		"pings": {kind: pingFrame, payload: make([]byte, 8)}, "settings": {kind: settingsFrame}, "empty data": empty,
		"priorities": {priorityFrame, 0, 1, []byte{0, 0, 0, 3, 7}}, "windows": {windowFrame, 0, 0, []byte{0, 0, 0, 1}},
		"resets of nothing": {resetFrame, 0, 1, []byte{0, 0, 0, cancel}}, "data for nobody": {dataFrame, endStream, 3, nil},
	} {
		t.Run("A-203 "+name, func(t *testing.T) {
			t.Parallel()
			c := dialH2(t, w, p)
			c.settings()
			if err := c.send(frame{headersFrame, endHeaders, 1, h2Request(3, "/oauth2/revoke")}); err != nil {
				t.Fatal(err)
			}
			many := bytes.Repeat(encode(flood), 1000)
			for range 100 { // or until the server has had enough
				if _, err := c.conn.Write(many); err != nil {
					break
				}
			}
			resp, err := p.client(t, nil).Get(w.app.URL() + "/readyz")
			if err != nil || resp.StatusCode != http.StatusOK {
				t.Errorf("another connection: %v %v", resp, err)
			}
			if most := seen.most.Load(); most > 20 {
				t.Errorf("%d requests were worked on at once", most)
			}
		})
	}
	t.Run("A-204 a header of 32 KiB", func(t *testing.T) {
		t.Parallel()
		req, err := http.NewRequestWithContext(t.Context(), "GET", w.app.URL()+"/healthz", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("X-Long", strings.Repeat("x", 32<<10))
		resp, err := p.client(t, nil).Do(req)
		if err == nil && resp.StatusCode != 431 { // an error: the connection ended, or the client heeds the limit that it is told
			t.Errorf("%s %s", resp.Proto, resp.Status)
		}
	})
}

// answers for which the client opens no window. The server gives up in its
// time, and who is honest is answered meanwhile.
func TestA203AnswersWithoutAWindow(t *testing.T) {
	t.Parallel()
	w, p := newTLSWorld(t, month)
	w.tune = func(s *http.Server) { s.WriteTimeout = 20 * short }
	w.restart(func(c *config.Config) { c.Concurrency = 8 }) // and a hundred find room in the queue
	c := dialH2(t, w, p)
	c.settings()
	const initialWindowSize = 4 // the setting's number
	frames := []frame{{kind: settingsFrame, payload: []byte{0, initialWindowSize, 0, 0, 0, 0}}}
	for i := range uint32(100) {
		frames = append(frames, frame{headersFrame, endHeaders | endStream, 2*i + 1, h2Request(2, "/api/v1/openapi.json")})
	}
	if err := c.send(frames...); err != nil {
		t.Fatal(err)
	}
	begun, ended := map[uint32]bool{}, map[uint32]bool{}
	for len(ended) < 100 {
		f, err := c.read()
		if os.IsTimeout(err) {
			t.Fatalf("after %d ends the server still waits for a window", len(ended))
		}
		if err != nil {
			break // all of them at once
		}
		if f.kind == headersFrame && !begun[f.stream] {
			if begun[f.stream] = true; len(begun) == 100 { // a header needs no window: from here on all of them wait for one
				resp, err := p.client(t, nil).Get(w.app.URL() + "/.well-known/jwks.json")
				if err != nil || resp.StatusCode != http.StatusOK {
					t.Errorf("another connection: %v %v", resp, err)
				}
			}
		}
		if f.kind == dataFrame && len(f.payload) > 0 {
			t.Fatal("data without a window")
		}
		if f.kind == resetFrame || f.kind == headersFrame && f.flags&endStream != 0 {
			ended[f.stream] = true
		}
	}
	if len(begun) < 100 {
		t.Errorf("%d answers have begun", len(begun))
	}
}
