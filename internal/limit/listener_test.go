package limit

import (
	"net"
	"net/netip"
	"testing"
)

// arrivals is a listener at which connections arrive from where the test says.
type arrivals chan net.Conn

func (a arrivals) Accept() (net.Conn, error) {
	if c, ok := <-a; ok {
		return c, nil
	}
	return nil, net.ErrClosed
}
func (a arrivals) Close() error   { return nil }
func (a arrivals) Addr() net.Addr { return &net.TCPAddr{} }

type arrival struct {
	net.Conn
	from   string
	closed bool
}

func (a *arrival) Close() error { a.closed = true; return nil }
func (a *arrival) RemoteAddr() net.Addr {
	return net.TCPAddrFromAddrPort(netip.MustParseAddrPort(a.from))
}

// A-202 in part: connections beyond the limits.
func TestListener(t *testing.T) {
	t.Parallel()
	const proxy = "10.0.0.1:1"
	for _, tt := range []struct {
		name              string
		total, perAddress int
		from              []string
		closed            []int // which of them are closed at once
	}{
		{"no limit", 0, 0, []string{"192.0.2.1:1", "192.0.2.1:2", "192.0.2.1:3", "192.0.2.1:4"}, nil},
		{"of one address", 0, 2, []string{"192.0.2.1:1", "192.0.2.1:2", "192.0.2.1:3", "192.0.2.2:1"}, []int{2}},
		{"of one network of IPv6", 0, 2, []string{"[2001:db8::1]:1", "[2001:db8::2]:1", "[2001:db8::3]:1", "[2001:db8:0:1::1]:1"}, []int{2}},
		{"of all", 3, 2, []string{"192.0.2.1:1", "192.0.2.2:1", "192.0.2.3:1", "192.0.2.4:1"}, []int{3}},
		{"a proxy stands for many", 0, 2, []string{proxy, proxy, proxy, proxy}, nil},
		{"a proxy counts among all", 3, 2, []string{proxy, proxy, proxy, proxy}, []int{3}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			come := make(arrivals, 10)
			refused := 0
			l := &Listener{
				Listener: come, Total: tt.total, PerAddress: tt.perAddress,
				Trusted: func(a netip.Addr) bool { return a == netip.MustParseAddr("10.0.0.1") }, Refused: func(netip.Addr) { refused++ },
			}
			var all []*arrival
			for _, from := range tt.from {
				all = append(all, &arrival{from: from})
				come <- all[len(all)-1]
			}
			var open []net.Conn
			for range len(all) - len(tt.closed) {
				c, err := l.Accept()
				if err != nil {
					t.Fatal(err)
				}
				open = append(open, c)
			}
			close(come)
			if _, err := l.Accept(); err == nil || refused != len(tt.closed) {
				t.Errorf("%v, %d were refused", err, refused)
			}
			for _, i := range tt.closed {
				if !all[i].closed {
					t.Errorf("number %d is open", i)
				}
			}
			for _, c := range open {
				_, _ = c.Close(), c.Close() // twice gives one place back
			}
			if l.open != 0 || len(l.of) != 0 {
				t.Errorf("when all are closed, %d are open, of %d addresses", l.open, len(l.of))
			}
		})
	}
}

// A client that is still sending must get to read its answer.
func TestCloseWriteReachesTheConnection(t *testing.T) {
	t.Parallel()
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer inner.Close()
	l := &Listener{Listener: inner, Trusted: func(netip.Addr) bool { return false }}
	client, err := net.Dial("tcp", inner.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if n, err := client.Read(make([]byte, 1)); n != 0 || err == nil {
		t.Error("the client sees no end")
	}
	if err := (&conn{Conn: &arrival{}}).CloseWrite(); err != nil {
		t.Errorf("of a connection that cannot: %v", err)
	}
}
