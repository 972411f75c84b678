package store

import (
	"crypto/tls"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
)

// dialer opens connections to PostgreSQL. Of one whose other end vanished while a
// statement runs, the system knows after eleven seconds.
var dialer = &net.Dialer{KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 5 * time.Second, Interval: 2 * time.Second, Count: 3}}

// ear is a connection that counts how often something is heard on it.
type ear struct {
	net.Conn
	heard *atomic.Int64
}

func (e ear) Read(b []byte) (int, error) {
	n, err := e.Conn.Read(b)
	if n > 0 {
		e.heard.Add(1)
	}
	return n, err
}

// wire is one connection of a pool. It knows for how long the server is silent on it while
// somebody waits, and tells its line.
type wire struct {
	ear
	line    *line
	patient bool
	asked   atomic.Int64 // the line's losses when it was last known to be sound
	used    atomic.Bool  // something was heard on it

	mu      sync.Mutex
	timer   *time.Timer   // of the silence
	began   time.Time     // when somebody last began to wait
	waiting bool          // somebody waits
	told    time.Duration // after which silence the line was told of it last
	ended   bool          // given up by us: of what follows nobody is told
	closed  bool
}

func (w *wire) Read(b []byte) (int, error) {
	w.mu.Lock()
	w.began, w.waiting, w.told = time.Now(), true, quiet
	if w.timer == nil {
		w.timer = time.AfterFunc(quiet, w.silent)
	} else {
		w.timer.Reset(quiet)
	}
	w.mu.Unlock()

	n, err := w.ear.Read(b)

	w.mu.Lock()
	w.timer.Stop()
	w.waiting = false
	ended := w.ended
	w.mu.Unlock()
	switch {
	case n > 0 && !w.used.Load():
		w.used.Store(true)
	case err == nil || ended:
	case w.used.Load():
		w.line.lost()
	default: // it never was a connection, or asked to cancel a statement, which has no answer
		w.line.suspect()
	}
	return n, err
}

func (w *wire) Write(b []byte) (int, error) {
	n, err := w.ear.Write(b)
	if err != nil && !w.over() {
		w.line.lost()
	}
	return n, err
}

// silent is called when the server has been silent for a while, and again after each time
// twice as long.
func (w *wire) silent() {
	w.mu.Lock()
	for since := time.Since(w.began); w.waiting && w.told <= since; {
		w.told *= 2
	}
	next := w.told
	if !w.patient {
		next = min(next, silence)
	}
	waiting, since := w.waiting, time.Since(w.began)
	tooLong := waiting && !w.patient && since >= silence
	if waiting && !tooLong {
		w.timer.Reset(next - since)
	}
	w.mu.Unlock()
	switch {
	case tooLong:
		_ = w.Close() // whoever waits finds out
		w.line.lost()
	case waiting:
		w.line.suspect()
	}
}

// idle returns how long ago somebody waited for an answer.
func (w *wire) idle() time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	return time.Since(w.began)
}

// SetDeadline ends what waits for an answer when the deadline has passed already: so pgx
// gives up a statement that nobody waits for any more, and the connection with it.
func (w *wire) SetDeadline(t time.Time) error {
	if !t.IsZero() && t.Before(time.Now()) {
		w.giveUp()
	}
	return w.Conn.SetDeadline(t)
}

// over reports whether it was given up.
func (w *wire) over() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.ended
}

func (w *wire) giveUp() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ended = true
}

// Close closes the connection, also under those who wait. Whoever closes it again, because
// it was his, need not know that the line was faster.
func (w *wire) Close() error {
	w.mu.Lock()
	closed := w.closed
	w.ended, w.closed = true, true
	w.mu.Unlock()
	if closed {
		return nil
	}
	w.line.mu.Lock()
	delete(w.line.wires, w)
	w.line.mu.Unlock()
	return w.Conn.Close()
}

// wireOf returns the wire of a connection.
func wireOf(conn *pgx.Conn) *wire {
	raw := conn.PgConn().Conn()
	if t, ok := raw.(*tls.Conn); ok {
		raw = t.NetConn()
	}
	w, _ := raw.(*wire)
	return w
}
