package limit

import (
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// met is how many connections are looked at for one that may go.
const met = 32

// unsent is how much of an answer the system holds that the client has not read yet. Of
// itself, Linux lets it grow to some megabytes a connection, in memory that is nobody's:
// who asks for documents and reads nothing would have gigabytes of it.
const unsent = 64 << 10

// Listener accepts so many connections at once, of all and of one address. What an address
// has beyond its number is closed as soon as it is accepted. Beyond that of all, one that
// keeps the server waiting makes room: with a few thousand connections that do nothing, a
// stranger would shut everybody else out. Fields must not change once it is in use.
type Listener struct {
	net.Listener
	Total, PerAddress int                   // 0: no limit
	Multiplexed       int                   // how many of all may carry many requests at once; 0: no limit
	Trusted           func(netip.Addr) bool // addresses that stand for many, such as a proxy's: only Total counts, and none of theirs makes room
	Refused           func(netip.Addr)      // is told of each connection that is closed for a limit; it must not wait

	mu   sync.Mutex
	open map[*Conn]struct{}
	of   map[netip.Addr]int // by Key; addresses with an open connection
	many int                // of those that are open, how many carry many requests at once
}

// Accept returns the next connection that is within the limits.
func (l *Listener) Accept() (net.Conn, error) {
	for {
		inner, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		addr := Address(inner.RemoteAddr().String())
		c := &Conn{Conn: inner, of: Key(addr), listener: l}
		if l.Trusted(addr) {
			c.of = netip.Addr{}
		}
		c.close = sync.OnceFunc(func() { l.give(c) })
		c.since.Store(now())
		taken, slow := l.take(c)
		if slow != nil {
			_ = slow.Close() // its reader finds out
			l.Refused(Address(slow.RemoteAddr().String()))
		}
		if taken {
			if tcp, ok := inner.(*net.TCPConn); ok {
				_ = tcp.SetWriteBuffer(unsent) // or the system's own size
			}
			return c, nil
		}
		_ = inner.Close() // whoever it was is gone either way
		l.Refused(addr)
	}
}

// take reports whether there is room for a connection, and returns the one that has to be
// closed for it, if any: its place is given away already.
func (l *Listener) take(c *Conn) (ok bool, slow *Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.PerAddress > 0 && c.of.IsValid() && l.of[c.of] >= l.PerAddress {
		return false, nil
	}
	if l.Total > 0 && len(l.open) >= l.Total {
		if slow = l.slow(); slow == nil {
			return false, nil
		}
		l.remove(slow)
	}
	if l.of == nil {
		l.of, l.open = map[netip.Addr]int{}, map[*Conn]struct{}{}
	}
	l.open[c] = struct{}{}
	l.of[c.of]++
	return true, slow
}

// slow returns, of the first connections that are met on which nothing is worked, the one
// that has kept the server waiting longest, counted as often as its address has
// connections: it says what somebody takes of all. Whoever is honest sends in a moment,
// and does not come so often.
func (l *Listener) slow() (slow *Conn) {
	var most int64
	at, seen := now(), 0
	for c := range l.open {
		if seen++; seen > met {
			break
		}
		if !c.of.IsValid() || c.works.Load() > 0 {
			continue
		}
		if waits := (at - c.since.Load() + 1) * int64(l.of[c.of]); slow == nil || waits > most {
			slow, most = c, waits
		}
	}
	return slow
}

func (l *Listener) give(c *Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.remove(c)
}

// remove gives a connection's place back, once.
func (l *Listener) remove(c *Conn) {
	if _, ok := l.open[c]; !ok {
		return
	}
	delete(l.open, c)
	if c.many {
		c.many = false
		l.many--
	}
	if l.of[c.of]--; l.of[c.of] == 0 {
		delete(l.of, c.of)
	}
}

// Conn gives its place back when it is closed, and knows whether something is worked on.
type Conn struct {
	net.Conn
	of       netip.Addr // what it counts as; the zero one: it stands for many
	close    func()
	listener *Listener
	many     bool // it carries many requests at once; the listener's lock guards it

	works  atomic.Int32 // requests that are there and have no answer yet
	broken atomic.Int32 // requests that the client broke off since it last let one be answered
	since  atomic.Int64 // when it was accepted, or the latest work ended
}

// began is where the clock of connections begins: one that nobody sets.
var began = time.Now()

func now() int64 { return int64(time.Since(began)) }

// ConnOf returns the Conn that a connection of net/http is, or runs over; nil: none.
func ConnOf(c net.Conn) *Conn {
	if secure, ok := c.(interface{ NetConn() net.Conn }); ok {
		c = secure.NetConn()
	}
	own, _ := c.(*Conn)
	return own
}

// Begin says that a request is there to be worked on: the connection makes room for no
// other until End. nil has none to make.
func (c *Conn) Begin() {
	if c != nil {
		c.works.Add(1)
	}
}

// End says that a request has its answer. To send that takes as long as the client wants.
func (c *Conn) End() {
	if c != nil {
		c.since.Store(now())
		c.works.Add(-1)
	}
}

// Multiplex reports whether the connection may carry many requests at once, as those of
// HTTP/2 do: each may have hundreds in memory before anybody sees one of them. A proxy's
// always may.
func (c *Conn) Multiplex() bool {
	if c == nil || !c.of.IsValid() || c.listener.Multiplexed == 0 {
		return true
	}
	l := c.listener
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, open := l.open[c]; open && !c.many && l.many < l.Multiplexed {
		c.many = true
		l.many++
	}
	return c.many
}

// maxBroken is how many requests in a row a client may break off on one connection. It is
// less than a connection has at once, so that they are counted while the others wait.
const maxBroken = 50

// Done says whether the client waited for the answer to a request. A connection on which it
// breaks off all that it begins is closed: to begin a request costs it one frame (HTTP/2
// "rapid reset", CVE-2023-44487). A proxy's is not, for it has other clients too.
func (c *Conn) Done(broken bool) {
	switch {
	case c == nil || !c.of.IsValid():
	case !broken:
		c.broken.Store(0)
	case c.broken.Add(1) > maxBroken:
		_ = c.Close() // its reader finds out
	}
}

// Close closes the connection.
func (c *Conn) Close() error {
	c.close()
	return c.Conn.Close()
}

// CloseWrite ends what is sent and still reads, where the connection can do that:
// net/http wants it, so that a client which is still sending gets to read its answer.
func (c *Conn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}
