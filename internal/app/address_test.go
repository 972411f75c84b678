package app

import (
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"github.com/sentryagent/agentidp/internal/config"
)

//
func TestWhereARequestComesFrom(t *testing.T) {
	t.Parallel()
	limits := config.Limits{TrustedProxies: []string{"10.0.0.0/8", "2001:db8:f::/48", "192.0.2.9"}}
	networks, err := limits.Proxies()
	if err != nil {
		t.Fatal(err)
	}
	p := proxies(networks)
	for _, tt := range []struct {
		name, peer string
		lines      []string
		want       string
	}{
		{"no proxy", "198.51.100.1:9", nil, "198.51.100.1:9"},
		{"a stranger who speaks for another", "198.51.100.1:9", []string{"203.0.113.1"}, "198.51.100.1:9"},
		{"a stranger who speaks for a proxy", "198.51.100.1:9", []string{"203.0.113.1, 10.0.0.1"}, "198.51.100.1:9"},
		{"a proxy that says nothing", "10.0.0.1:9", nil, "10.0.0.1:9"},
		{"a proxy", "10.0.0.1:9", []string{"203.0.113.1"}, "203.0.113.1"},
		{"a proxy by its address alone", "192.0.2.9:9", []string{"203.0.113.1"}, "203.0.113.1"},
		{"the address beside it", "192.0.2.8:9", []string{"203.0.113.1"}, "192.0.2.8:9"},
		{"what the client said before it is its own affair", "10.0.0.1:9", []string{"203.0.113.9, 10.0.0.5, 203.0.113.1"}, "203.0.113.1"},
		{"two proxies", "10.0.0.1:9", []string{"203.0.113.9, 203.0.113.1, 10.0.0.2"}, "203.0.113.1"},
		{"several lines are one list", "10.0.0.1:9", []string{"203.0.113.9", "203.0.113.1", "10.0.0.3, 10.0.0.2"}, "203.0.113.1"},
		{"nobody but proxies", "10.0.0.1:9", []string{"10.0.0.3, 10.0.0.2"}, "10.0.0.3"},
		{"an entry that is no address ends the walk", "10.0.0.1:9", []string{"203.0.113.1, unknown"}, "10.0.0.1:9"},
		{"one further left too", "10.0.0.1:9", []string{"203.0.113.1, unknown, 10.0.0.2"}, "10.0.0.2"},
		{"an empty entry too", "10.0.0.1:9", []string{"203.0.113.1,, 10.0.0.2"}, "10.0.0.2"},
		{"an empty line too", "10.0.0.1:9", []string{""}, "10.0.0.1:9"},
		{"a host's name is no address", "10.0.0.1:9", []string{"localhost"}, "10.0.0.1:9"},
		{"an address with a port", "10.0.0.1:9", []string{"203.0.113.1:4711"}, "203.0.113.1"},
		{"white space", "10.0.0.1:9", []string{" 203.0.113.9 ,\t203.0.113.1 "}, "203.0.113.1"},
		{"IPv6", "[2001:db8:f::1]:9", []string{"2001:db8::7"}, "2001:db8::7"},
		{"IPv6 in brackets", "10.0.0.1:9", []string{"[2001:db8::7]"}, "2001:db8::7"},
		{"IPv6 with a port", "10.0.0.1:9", []string{"[2001:db8::7]:4711"}, "2001:db8::7"},
		{"IPv6 with a zone is of some other machine", "10.0.0.1:9", []string{"fe80::1%" + strings.Repeat("x", 100)}, "10.0.0.1:9"},
		{"IPv4 as IPv6, at the peer", "[::ffff:10.0.0.1]:9", []string{"203.0.113.1"}, "203.0.113.1"},
		{"IPv4 as IPv6, in the header", "10.0.0.1:9", []string{"::ffff:203.0.113.1"}, "203.0.113.1"},
		{"a proxy as IPv6, in the header", "10.0.0.1:9", []string{"203.0.113.1, ::ffff:10.0.0.2"}, "203.0.113.1"},
		{"a peer without an address", "@", []string{"203.0.113.1"}, "@"},
	} {
		got, shown := p.client(&http.Request{RemoteAddr: tt.peer, Header: http.Header{forwardedFor: tt.lines}})
		if shown != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, shown, tt.want)
		}
		if want, err := netip.ParseAddr(tt.want); err == nil && got != want {
			t.Errorf("%s: %s, want %s", tt.name, got, want)
		}
	}
}

func TestFindingTheClientAllocatesNothing(t *testing.T) {
	p := proxies{netip.MustParsePrefix("10.0.0.0/8")}
	r := &http.Request{RemoteAddr: "10.0.0.1:9", Header: http.Header{forwardedFor: {"203.0.113.9, 203.0.113.1, 10.0.0.2"}}}
	peer := netip.MustParseAddr("10.0.0.1")
	if n := testing.AllocsPerRun(100, func() { p.walk(peer, r.Header[forwardedFor]) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// The log has the client; and that somebody who is not trusted speaks for others is
// told once, however many do.
func TestProxiesInTheLog(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for range 3 {
		w.want(w.do("GET", "/healthz", "", nil, forwardedFor, "203.0.113.1"), 200)
	}
	log := w.logs.take()
	if n := strings.Count(log, "AGENTIDP_TRUSTED_PROXIES"); n != 1 || strings.Contains(log, "203.0.113.1") {
		t.Errorf("%d warnings:\n%s", n, log)
	}
	w.restart(behindProxy)
	w.want(w.do("GET", "/healthz", "", nil, forwardedFor, "203.0.113.9, 203.0.113.1"), 200)
	if log := w.logs.String(); !strings.Contains(log, `"remote":"203.0.113.1"`) || strings.Contains(log, "203.0.113.9") || strings.Contains(log, "AGENTIDP_TRUSTED_PROXIES") {
		t.Errorf("%s", log)
	}
}

// behindProxy lets the test's requests speak for others.
func behindProxy(c *config.Config) { c.TrustedProxies = []string{"127.0.0.1"} }
