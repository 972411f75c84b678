//go:build failpoints

package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sentryagent/agentidp/client"
	"github.com/sentryagent/agentidp/internal/pace"
	"github.com/sentryagent/agentidp/internal/pgtest"
)

// toxic is toxiproxy before a PostgreSQL.
type toxic struct {
	t       *testing.T
	api     string
	address string // that leads to PostgreSQL
}

// newToxic starts toxiproxy. A machine without it skips the test, unless all that is needed
// is to be there.
func newToxic(t *testing.T, upstream string) *toxic {
	t.Helper()
	program := os.Getenv("AGENTIDP_TOXIPROXY")
	if program == "" {
		if os.Getenv("AGENTIDP_REQUIRE_POSTGRES") != "" {
			t.Fatal("AGENTIDP_TOXIPROXY names no toxiproxy; make faults installs it")
		}
		t.Skip("AGENTIDP_TOXIPROXY names no toxiproxy")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0") // toxiproxy says nowhere which port it got
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(l.Addr().String())
	l.Close()
	cmd := exec.Command(program, "-host", "127.0.0.1", "-port", port)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	x := &toxic{t: t, api: "http://127.0.0.1:" + port}
	pace.Eventually(t, "toxiproxy answers", func() bool {
		resp, err := http.Get(x.api + "/version")
		if err == nil {
			resp.Body.Close()
		}
		return err == nil
	})
	var made struct{ Listen string }
	x.call("POST", "/proxies", map[string]any{"name": "pg", "listen": "127.0.0.1:0", "upstream": upstream, "enabled": true}, &made)
	x.address = made.Listen
	return x
}

func (x *toxic) call(method, path string, body, into any) {
	x.t.Helper()
	text, err := json.Marshal(body)
	if err != nil {
		x.t.Fatal(err)
	}
	req, err := http.NewRequest(method, x.api+path, bytes.NewReader(text))
	if err != nil {
		x.t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		x.t.Fatal(err)
	}
	defer resp.Body.Close()
	answer, _ := io.ReadAll(resp.Body)
	if resp.StatusCode >= 300 {
		x.t.Fatalf("%s %s: %d %s", method, path, resp.StatusCode, answer)
	}
	if into != nil {
		if err := json.Unmarshal(answer, into); err != nil {
			x.t.Fatal(err)
		}
	}
}

// adds adds a toxic in one direction: upstream is towards PostgreSQL.
func (x *toxic) adds(kind, stream string, attributes map[string]any) {
	x.t.Helper()
	x.call("POST", "/proxies/pg/toxics", map[string]any{"name": kind + "_" + stream, "type": kind, "stream": stream, "attributes": attributes}, nil)
}

func (x *toxic) heals() {
	x.t.Helper()
	x.call("POST", "/reset", nil, nil)
}

// partitions are the ways in which PostgreSQL cannot be reached.
var partitions = []struct {
	name  string
	begin func(x *toxic)
}{
	{"nothing arrives", func(x *toxic) {
		x.adds("timeout", "upstream", map[string]any{"timeout": 0})
		x.adds("timeout", "downstream", map[string]any{"timeout": 0})
	}},
	{"no answer arrives", func(x *toxic) { x.adds("timeout", "downstream", map[string]any{"timeout": 0}) }},
	{"each connection is reset", func(x *toxic) { x.adds("reset_peer", "downstream", map[string]any{"timeout": 0}) }},
}

// PostgreSQL cannot be reached. Whoever asks is told so within two seconds; who asks
// for what needs no storage is served; five seconds after it is over at the latest all is
// well again, without a restart.
func TestR10PostgreSQLCannotBeReached(t *testing.T) {
	t.Parallel()
	c := pgtest.NewCluster(t)
	c.CreateDatabase("agentidp")
	x := newToxic(t, c.Address())
	o := newOutage(t, strings.Replace(c.URL("agentidp"), c.Address(), x.address, 1))
	lasts := 4 * time.Second
	if pace.Long() {
		lasts = time.Minute
	}
	for _, p := range partitions {
		back := o.during(func() {
			p.begin(x)
			o.servesWithoutStorage(lasts)
			x.heals()
		})
		t.Log(p.name)
		o.wellAfter(back) // stricter than five seconds
	}
	o.finish(t)
}

// servesWithoutStorage asserts what is answered for some time while PostgreSQL is gone.
func (o *outage) servesWithoutStorage(lasts time.Duration) {
	o.t.Helper()
	for began, first := time.Now(), true; time.Since(began) < lasts; first = false {
		took, err := o.exchange()
		e, ok := errors.AsType[*client.Error](err)
		if !ok || e.Status != http.StatusServiceUnavailable || e.RetryAfter == 0 {
			o.t.Errorf("an exchange: %v, want 503 with Retry-After", err)
		}
		if took > toldWithin || !first && took > 2*time.Second { // known by then
			o.t.Errorf("an exchange waited for %v", took)
		}
		for path, want := range map[string]int{"/healthz": 200, "/.well-known/jwks.json": 200, "/readyz": 503} {
			asked := time.Now()
			if status := o.installation.status(path); status != want || time.Since(asked) > toldWithin {
				o.t.Errorf("%s: %d after %v, want %d", path, status, time.Since(asked), want)
			}
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// slowness are the ways in which PostgreSQL is slow.
var slowness = []struct {
	name  string
	begin func(x *toxic)
}{
	{"half a second late", func(x *toxic) { x.adds("latency", "downstream", map[string]any{"latency": 500}) }},
	{"five kilobytes a second", func(x *toxic) { x.adds("bandwidth", "downstream", map[string]any{"rate": 5}) }},
}

// PostgreSQL is slow, and more come than can be served: each is answered in the time of
// a request, with a token or with 503; the server lives, and holds no more than before.
func TestR11PostgreSQLIsSlow(t *testing.T) {
	t.Parallel()
	c := pgtest.NewCluster(t)
	c.CreateDatabase("agentidp")
	x := newToxic(t, c.Address())
	o := newOutage(t, strings.Replace(c.URL("agentidp"), c.Address(), x.address, 1))
	o.during(func() {})
	lasts := 8 * time.Second
	if pace.Long() {
		lasts = time.Minute
	}
	for _, s := range slowness {
		before := o.resident()
		s.begin(x)
		served, shed, most := o.flood(200, lasts)
		x.heals()
		pace.Eventually(t, "an exchange is decided in time again", func() bool { took, err := o.exchange(); return err == nil && took < time.Second })
		t.Logf("%s: %d served, %d turned away; %d MiB before, %d at most", s.name, served, shed, before>>20, most>>20)
		if shed == 0 {
			t.Errorf("%s: nobody was turned away", s.name)
		}
		if most > before+64<<20 {
			t.Errorf("%s: the server held %d MiB before, and %d", s.name, before>>20, most>>20)
		}
	}
	o.finish(t)
}

// flood sends exchanges from so many clients at once, and asks for the server's health.
func (o *outage) flood(clients int, lasts time.Duration) (served, shed, most int) {
	o.t.Helper()
	var wg sync.WaitGroup
	var mu sync.Mutex
	end := time.Now().Add(lasts)
	for range clients {
		wg.Go(func() {
			for time.Now().Before(end) {
				took, err := o.exchange()
				e, refused := errors.AsType[*client.Error](err)
				mu.Lock()
				switch {
				case err == nil:
					served++
				case refused && e.Status == http.StatusServiceUnavailable:
					shed++
				default:
					o.t.Errorf("%v", err)
				}
				mu.Unlock()
				if took > 12*time.Second { // a request's ten, and a busy machine
					o.t.Errorf("an exchange waited for %v", took)
				}
				time.Sleep(100 * time.Millisecond)
			}
		})
	}
	for time.Now().Before(end) {
		asked := time.Now()
		if status := o.installation.status("/healthz"); status != http.StatusOK || time.Since(asked) > toldWithin {
			o.t.Errorf("/healthz: %d after %v", status, time.Since(asked))
		}
		asked = time.Now()                                                                                                                                       // whether it is ready is for it to say; not, for a load balancer to wait for
		if status := o.installation.status("/readyz"); status != http.StatusOK && status != http.StatusServiceUnavailable || time.Since(asked) > 8*time.Second { // five, and a busy machine
			o.t.Errorf("/readyz: %d after %v", status, time.Since(asked))
		}
		most = max(most, o.resident())
		time.Sleep(100 * time.Millisecond)
	}
	wg.Wait()
	return served, shed, most
}

// resident returns how much memory the server holds.
func (o *outage) resident() int {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", o.installation.server.cmd.Process.Pid))
	if err != nil {
		o.t.Skip("no /proc")
	}
	pages, _ := strconv.Atoi(strings.Fields(string(text))[1])
	return pages * os.Getpagesize()
}
