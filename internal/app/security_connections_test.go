package app

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/sentryagent/agentidp/internal/config"
	"github.com/sentryagent/agentidp/internal/pace"
)

// Attacks with as many connections and streams as the usual limits admit. They are not
// parallel: the memory that they cost is measured, and they take descriptors by the thousand.

// dialFrom opens a connection from one of the many addresses that loopback has on Linux.
func (w *world) dialFrom(address string) (net.Conn, error) {
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(address)}, Timeout: long}
	conn, err := d.DialContext(w.t.Context(), "tcp", w.app.Address())
	if errors.Is(err, syscall.EADDRNOTAVAIL) {
		w.t.Skipf("nobody can come from %s here: %v", address, err)
	}
	return conn, err
}

// affordable returns how many connections to a server of its own this process may have, of
// as many as are wanted: each has two ends, and others need descriptors, too.
func affordable(t *testing.T, wanted int) int {
	t.Helper()
	n, known := descriptors()
	if !known || n >= uint64(2*wanted+1000) {
		return wanted
	}
	t.Logf("%d file descriptors (ulimit -n) are too few for %d connections", n, wanted)
	return int(n) / 3
}

// inMemory is what the program holds of memory, live or on stacks, in bytes.
func inMemory() int64 {
	heap := live()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return heap + int64(m.StackInuse)
}

// five thousand connections that send nothing, of five addresses, are more than all
// that there may be (and fewer are more than fewer, where a process may not have so many
// files). Whoever is honest is answered throughout, on new connections; the oldest make
// room, and each costs a bounded memory.
func TestA202FiveThousandIdleConnections(t *testing.T) {
	const each = 32 << 10
	idle := affordable(t, 5000)
	w, honest := slowWorld(t, func(*http.Server) {}, usualLimits(t), func(c *config.Config) {
		c.AddressConnections, c.MaxConnections = idle/5+1, min(c.MaxConnections, idle*4/5)
	})
	before := inMemory()
	closed := make(chan struct{}, idle)
	for i := range idle {
		conn, err := w.dialFrom(fmt.Sprintf("127.0.0.%d", 2+i%5))
		if err != nil {
			t.Fatalf("connection %d: %v", i, err)
		}
		defer conn.Close()
		go func() {
			_, _ = conn.Read(make([]byte, 1))
			closed <- struct{}{}
		}()
		if i%500 == 0 {
			http.DefaultClient.CloseIdleConnections()
			honest()
		}
	}
	for range idle - w.app.cfg.MaxConnections {
		select {
		case <-closed:
		case <-time.After(long / 2):
			t.Fatal("the server keeps more connections than it may")
		}
	}
	if grown := inMemory() - before; grown > each*int64(w.app.cfg.MaxConnections) {
		t.Errorf("%d KiB are held for each of %d connections", grown>>10/int64(w.app.cfg.MaxConnections), w.app.cfg.MaxConnections)
	}
	http.DefaultClient.CloseIdleConnections()
	honest()
}

// whoever wants ten thousand streams, a hundred on each of a hundred connections,
// gets as many connections of HTTP/2 as there are, and each stream is a request whose body
// never comes. What waits of them is what one address may have in memory, and the rest is
// told so; whoever comes from elsewhere is answered on its merits, by HTTP/1.1.
func TestA203TenThousandStreams(t *testing.T) {
	const streams, each, wanted, connections = 100, 24 << 10, 100, maxMultiplexed
	w, p := newTLSWorld(t, month)
	seen := w.counting()
	w.restart(usualLimits(t))
	before := inMemory()
	var frames []frame
	for i := range uint32(streams) {
		frames = append(frames, frame{headersFrame, endHeaders, 2*i + 1, h2Request(3, tokenPath)})
	}
	for i := range wanted {
		if i >= connections {
			p.speaks(t, w, "http/1.1")
			continue
		}
		c := dialH2(t, w, p)
		c.settings()
		if err := c.send(frames...); err != nil {
			t.Fatal(err)
		}
	}
	const room = readAheadTotal / 4 / blockSize // for so many bodies of one address
	pace.Eventually(t, "all that may not wait are answered", func() bool { return seen.begun.Load()-seen.now.Load() == int64(connections*streams-room) })
	if grown := inMemory() - before; grown > int64(each*connections*streams) {
		t.Errorf("%d KiB are held for each of them", grown>>10/int64(connections*streams))
	}
	client := p.client(t, nil)
	for path, want := range map[string]int{tokenPath: 400, exchangePath: 415, "/readyz": 405} {
		resp, err := client.Post(w.app.URL()+path, formType, strings.NewReader("grant_type=password"))
		if err != nil || resp.StatusCode != want {
			t.Errorf("%s: %v %v", path, resp, err)
		}
	}
}

// seen counts the requests that reach the handler of a server.
type seen struct{ begun, now, most atomic.Int64 }

// counting has the next server counted.
func (w *world) counting() *seen {
	c := &seen{}
	w.tune = func(s *http.Server) {
		next := s.Handler
		s.Handler = http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			c.begun.Add(1)
			now := c.now.Add(1)
			defer c.now.Add(-1)
			for most := c.most.Load(); now > most && !c.most.CompareAndSwap(most, now); most = c.most.Load() {
			}
			next.ServeHTTP(rw, r)
		})
	}
	return c
}

// tuneAlso changes the next server after what is to change it already.
func (w *world) tuneAlso(change func(*http.Server)) {
	first := w.tune
	w.tune = func(s *http.Server) { first(s); change(s) }
}
