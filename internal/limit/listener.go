package limit

import (
	"net"
	"net/netip"
	"sync"
)

// Listener accepts so many connections at once, of all and of one address, and closes
// what is beyond that as soon as it is accepted. Fields must not change once it is
// in use.
type Listener struct {
	net.Listener
	Total, PerAddress int                   // 0: no limit
	Trusted           func(netip.Addr) bool // addresses that stand for many, such as a proxy's: only Total counts
	Refused           func(netip.Addr)      // is told of each connection that is closed for a limit; it must not wait

	mu   sync.Mutex
	open int
	of   map[netip.Addr]int // by Key; addresses with an open connection
}

// Accept returns the next connection that is within the limits.
func (l *Listener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		addr := Address(c.RemoteAddr().String())
		key := Key(addr)
		if l.Trusted(addr) {
			key = netip.Addr{}
		}
		if l.take(key) {
			return &conn{Conn: c, close: sync.OnceFunc(func() { l.give(key) })}, nil
		}
		_ = c.Close() // whoever it was is gone either way
		l.Refused(addr)
	}
}

func (l *Listener) take(key netip.Addr) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.Total > 0 && l.open >= l.Total || l.PerAddress > 0 && key.IsValid() && l.of[key] >= l.PerAddress {
		return false
	}
	if l.of == nil {
		l.of = map[netip.Addr]int{}
	}
	l.open++
	l.of[key]++
	return true
}

func (l *Listener) give(key netip.Addr) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open--
	if l.of[key]--; l.of[key] == 0 {
		delete(l.of, key)
	}
}

// conn gives its place back when it is closed.
type conn struct {
	net.Conn
	close func()
}

// Close closes the connection.
func (c *conn) Close() error {
	c.close()
	return c.Conn.Close()
}

// CloseWrite ends what is sent and still reads, where the connection can do that:
// net/http wants it, so that a client which is still sending gets to read its answer.
func (c *conn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}
