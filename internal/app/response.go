package app

import (
	"net/http"
	"net/netip"

	"github.com/sentryagent/agentidp/internal/failpoint"
	"github.com/sentryagent/agentidp/internal/limit"
)

// response remembers the status, and holds back the plain-text 404 and 405 of
// http.ServeMux so that they can be told as problem documents.
type response struct {
	http.ResponseWriter
	status      int
	unrouted    func() bool   // no route matched
	routed      *http.Request // as the mux got it; nil: it did not
	intercepted int

	remote  string      // the client's address, for the log
	counted netip.Addr  // what it is counted as
	gate    *limit.Gate // whose place the request has
	conn    *limit.Conn // over which it came; nil: in no connection of the server's
	turn    limit.Turn  // at a processor
	last    bool        // its address has failed so often that others come first
	working bool        // the connection is told that it is worked on
	body    *body       // what was read ahead of it
	early   bool        // it was turned away before any work
	foreign bool        // a page of another site had its visitor's browser send it
}

// begin has the connection stay: the request is there. What comes before that, and after
// the answer has begun, is waiting for the client, which may have to make room.
func (w *response) begin() {
	w.conn.Begin()
	w.working = true
}

// leave gives the place back, and the memory of the body. It comes with the first byte
// of the answer: what is left is sending, which is as slow as the client wants it to be.
func (w *response) leave() {
	if w.body != nil {
		w.body.free()
	}
	w.turn.End()
	if w.gate != nil {
		w.gate.Leave()
		w.gate = nil
	}
	if w.working {
		w.conn.End()
		w.working = false
	}
}

// end gives back all that the request had.
func (w *response) end() {
	w.leave()
	if w.body != nil {
		w.body.release()
		w.body = nil
	}
}

// WriteHeader sends the status unless it is the mux's own refusal.
func (w *response) WriteHeader(status int) {
	if w.unrouted != nil && w.unrouted() {
		w.intercepted = status
		return
	}
	if w.status == 0 {
		w.status = status
	}
	w.leave()
	w.ResponseWriter.WriteHeader(status)
}

// Write sends a part of the body.
func (w *response) Write(b []byte) (int, error) {
	if w.intercepted != 0 && w.unrouted != nil {
		return len(b), nil
	}
	if w.status == 0 {
		w.status = http.StatusOK
	}
	w.leave()
	n, err := w.ResponseWriter.Write(b)
	if err == nil {
		err = failpoint.Hit(failpoint.AfterAnswer)
	}
	return n, err
}

// Unwrap gives http.ResponseController the connection, for deadlines.
func (w *response) Unwrap() http.ResponseWriter { return w.ResponseWriter }
