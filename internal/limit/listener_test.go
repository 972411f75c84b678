package limit

import (
	"crypto/tls"
	"net"
	"net/netip"
	"testing"
	"time"
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
		{"of all, while they are worked on", 3, 2, []string{"192.0.2.1:1", "192.0.2.2:1", "192.0.2.3:1", "192.0.2.4:1"}, []int{3}},
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
				ConnOf(c).Begin()
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
			if len(l.open) != 0 || len(l.of) != 0 {
				t.Errorf("when all are closed, %d are open, of %d addresses", len(l.open), len(l.of))
			}
		})
	}
}

// when there is room for no more, the connection goes that keeps the server waiting,
// and whose address has most.
func TestAConnectionThatWaitsMakesRoom(t *testing.T) {
	t.Parallel()
	const proxy = "10.0.0.1:1"
	type peer struct {
		from         string
		waits, works int
	}
	for _, tt := range []struct {
		name string
		open []peer
		goes int // -1: the new one
	}{
		{"the one that has waited longest", []peer{{"192.0.2.1:1", 5, 0}, {"192.0.2.2:1", 9, 0}, {"192.0.2.3:1", 7, 0}}, 1},
		{"none with a request in work", []peer{{"192.0.2.1:1", 5, 0}, {"192.0.2.2:1", 9, 1}, {"192.0.2.3:1", 7, 2}}, 0},
		{"of the address that has most", []peer{{"192.0.2.1:1", 5, 0}, {"192.0.2.1:2", 6, 0}, {"192.0.2.3:1", 7, 0}}, 1},
		{"of a network of IPv6", []peer{{"[2001:db8::1]:1", 5, 0}, {"[2001:db8::2]:1", 6, 0}, {"192.0.2.3:1", 7, 0}}, 1},
		{"none of a proxy's", []peer{{proxy, 9, 0}, {proxy, 9, 0}, {"192.0.2.3:1", 1, 0}}, 2},
		{"the new one, where proxies have all", []peer{{proxy, 9, 0}, {proxy, 9, 0}, {proxy, 9, 0}}, -1},
		{"the new one, where all have work", []peer{{"192.0.2.1:1", 9, 1}, {"192.0.2.2:1", 9, 1}, {"192.0.2.3:1", 9, 1}}, -1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			come := make(arrivals, 10)
			refused := 0
			l := &Listener{
				Listener: come, Total: len(tt.open),
				Trusted: func(a netip.Addr) bool { return a == netip.MustParseAddr("10.0.0.1") }, Refused: func(netip.Addr) { refused++ },
			}
			var all []*arrival
			for _, p := range tt.open {
				all = append(all, &arrival{from: p.from})
				come <- all[len(all)-1]
				c, err := l.Accept()
				if err != nil {
					t.Fatal(err)
				}
				for range p.works + 1 {
					ConnOf(c).Begin()
				}
				ConnOf(c).End() // and from then on it waits
				ConnOf(c).since.Add(-int64(p.waits) * int64(time.Hour))
			}
			late := &arrival{from: "198.51.100.1:1"}
			come <- late
			close(come)
			if c, err := l.Accept(); (err == nil) != (tt.goes >= 0) {
				t.Errorf("%v, %v", c, err)
			}
			for i, one := range append(all, late) {
				if goes := i == tt.goes || tt.goes < 0 && one == late; one.closed != goes {
					t.Errorf("number %d: closed is %t", i, one.closed)
				}
			}
			if refused != 1 || len(l.open) != len(tt.open) {
				t.Errorf("told of %d, %d are open", refused, len(l.open))
			}
		})
	}
}

// What runs over a connection of ours is that connection; any other is none.
func TestConnOf(t *testing.T) {
	t.Parallel()
	c := &Conn{}
	if ConnOf(c) != c || ConnOf(tls.Server(c, nil)) != c {
		t.Error("not found")
	}
	none := ConnOf(&arrival{})
	if none != nil {
		t.Error("found in another")
	}
	none.Begin()
	none.End()
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
	if err := (&Conn{Conn: &arrival{}}).CloseWrite(); err != nil {
		t.Errorf("of a connection that cannot: %v", err)
	}
}

// few connections carry many requests at once, and one on which each request is
// broken off ends. A proxy's are its clients'.
func TestConnectionsWithManyRequestsAtOnce(t *testing.T) {
	t.Parallel()
	come := make(arrivals, 4)
	l := &Listener{
		Listener: come, Multiplexed: 2,
		Trusted: func(a netip.Addr) bool { return a.String() == "10.0.0.1" }, Refused: func(netip.Addr) {},
	}
	accept := func(from string) (*Conn, *arrival) {
		t.Helper()
		inner := &arrival{from: from}
		come <- inner
		c, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		return ConnOf(c), inner
	}
	first, _ := accept("192.0.2.1:1")
	second, _ := accept("192.0.2.2:1")
	third, inner := accept("192.0.2.3:1")
	proxy, proxys := accept("10.0.0.1:1")
	for range 2 { // to ask again takes nothing
		if !first.Multiplex() {
			t.Error("the first may")
		}
	}
	if !second.Multiplex() || third.Multiplex() || !proxy.Multiplex() {
		t.Error("two may, and a proxy")
	}
	_ = first.Close()
	if first.Multiplex() || !third.Multiplex() {
		t.Error("one that has ended gives its place to another, and takes none")
	}
	breakOff := func(n int) {
		for range n {
			third.Done(true)
			proxy.Done(true)
		}
	}
	breakOff(maxBroken)
	third.Done(false)
	if breakOff(maxBroken); inner.closed {
		t.Error("it let one be answered, and was closed")
	}
	if breakOff(1); !inner.closed || proxys.closed {
		t.Errorf("closed: %t, and the proxy's %t", inner.closed, proxys.closed)
	}
	if l.many != 1 {
		t.Errorf("%d places are taken", l.many)
	}
}
