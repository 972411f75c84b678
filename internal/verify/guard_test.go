package verify

import (
	"errors"
	"net"
	"net/netip"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/sentryagent/agentidp/internal/dnstest"
)

// what an administrator is told about an address, word by word, and
// what is checked again at every use.
func TestA185A186A188AddressesAreChecked(t *testing.T) {
	t.Parallel()
	const (
		noURL    = "is not a URL; non-ASCII characters of its path must be escaped, and those of its host in Punycode"
		noHTTPS  = "is not an https URL with a host, such as https://ci.example.com"
		noName   = "names a host that is not a DNS name of letters, digits, hyphens and dots"
		noPort   = "has a port that is not a number from 1 to 65535"
		user     = "has user information in it; leave out what is in front of the @"
		fragment = "has a fragment; leave out the # and what follows"
	)
	list := func(host string) string {
		return "; if it is right, have the operator list " + host + " in AGENTIDP_ISSUER_HOSTS"
	}
	local := func(host string) string {
		return "names the host " + host + ", which is not one of the public internet" + list(host)
	}
	literal := func(host, entry string) string {
		return "names the address " + host + " instead of a host; give the host's name, or " + list(entry)[2:]
	}
	looks := func(host string) string {
		return "names " + host + ", which some clients take for an IP address; give the host's name"
	}
	dotted := func(host string) string {
		return "names the host " + host + " with a dot at its end; leave it out"
	}
	port := func(p, entry string) string {
		return "names port " + p + ", and only 443 is asked" + list(entry)
	}
	plain := func(entry string) string { return "uses plain http; write https, or " + list(entry)[2:] }
	ours := func(host string) string {
		return "uses plain http; write https, or have the operator start the server with --dev or list " + host + " in AGENTIDP_ISSUER_HOSTS"
	}
	v := New(Config{
		Hosts:      []string{"ci.internal", "one.internal:8443", "plain.internal:80", "10.0.0.5", "[fd00::5]:8443"},
		Configured: []string{"https://ghes.internal/_services/token", "https://10.0.0.6:8443/_services/token"},
	})
	t.Cleanup(v.Close)
	for address, want := range map[string]string{
		"https://ci.example":                           "",
		"https://ci.example/":                          "",
		"https://CI.example:443/a%20b/keys?x=y":        "",
		"https://xn--bcher-kva.example":                "",
		"https://oidc.eks.eu-west-1.amazonaws.com/id/": "",
		"https://localhost.example":                    "",
		"https://10.example":                           "",
		"https://0x7f.example":                         "",

		// What the operator said of hosts.
		"https://ci.internal":                   "",
		"http://ci.internal:8080/keys":          "",
		"http://CI.internal":                    "",
		"https://one.internal:8443":             "",
		"http://one.internal:8443":              "",
		"https://one.internal":                  local("one.internal"),
		"https://one.internal:8444":             local("one.internal"),
		"http://plain.internal":                 "",
		"https://10.0.0.5":                      "",
		"https://[fd00::5]:8443":                "",
		"https://[fd00::5]":                     literal("fd00::5", "[fd00::5]"),
		"https://sub.ci.internal":               local("sub.ci.internal"),
		"https://ci.internal.":                  dotted("ci.internal."),
		"https://user@ci.internal":              user,
		"https://ghes.internal/_services/token": "",
		"https://ghes.internal:443":             "",
		"https://ghes.internal:8443":            local("ghes.internal"),
		"http://ghes.internal/_services/token":  plain("ghes.internal:80"),
		"https://10.0.0.6:8443":                 "",
		"https://10.0.0.6":                      literal("10.0.0.6", "10.0.0.6"),

		//
		"https://localhost":                               local("localhost"),
		"https://LOCALHOST":                               local("localhost"),
		"https://ci.localhost":                            local("ci.localhost"),
		"https://127.0.0.1":                               literal("127.0.0.1", "127.0.0.1"),
		"https://127.0.0.1:8443":                          literal("127.0.0.1", "127.0.0.1"),
		"https://[::1]":                                   literal("::1", "[::1]"),
		"https://0.0.0.0":                                 literal("0.0.0.0", "0.0.0.0"),
		"https://8.8.8.8":                                 literal("8.8.8.8", "8.8.8.8"),
		"https://100.64.0.1":                              literal("100.64.0.1", "100.64.0.1"),
		"https://[fd00::1]":                               literal("fd00::1", "[fd00::1]"),
		"https://[::ffff:169.254.169.254]":                literal("::ffff:169.254.169.254", "[::ffff:169.254.169.254]"),
		"https://[fe80::1%25eth0]":                        literal("fe80::1%eth0", "[fe80::1%eth0]"),
		"https://2130706433":                              looks("2130706433"),
		"https://0x7f.1":                                  looks("0x7f.1"),
		"https://0x7f000001":                              looks("0x7f000001"),
		"https://0177.0.0.01":                             looks("0177.0.0.01"),
		"https://127.1":                                   looks("127.1"),
		"https://ci.example.0x1":                          looks("ci.example.0x1"),
		"https://metadata.google.internal":                local("metadata.google.internal"),
		"https://metadata":                                local("metadata"),
		"https://kubernetes":                              local("kubernetes"),
		"https://kubernetes.default.svc":                  local("kubernetes.default.svc"),
		"https://kubernetes.svc.cluster.local":            local("kubernetes.svc.cluster.local"),
		"https://router.home.arpa":                        local("router.home.arpa"),
		"https://1.0.0.127.in-addr.arpa":                  local("1.0.0.127.in-addr.arpa"),
		"https://ci.localdomain":                          local("ci.localdomain"),
		"https://ci.intranet":                             local("ci.intranet"),
		"https://ci.private":                              local("ci.private"),
		"https://db.corp":                                 local("db.corp"),
		"https://nas.home":                                local("nas.home"),
		"https://nas.lan":                                 local("nas.lan"),
		"https://ci.onion":                                local("ci.onion"),
		"https://printer.local":                           local("printer.local"),
		"https://ci.internal.internal":                    local("ci.internal.internal"),
		"https://127.0.0.1.nip.io":                        local("127.0.0.1.nip.io"),
		"https://a.169-254-169-254.sslip.io":              local("a.169-254-169-254.sslip.io"),
		"https://ci.example.":                             dotted("ci.example."),
		"https://localhost.":                              dotted("localhost."),
		"https://ci_1.example":                            noName,
		"https://-ci.example":                             noName,
		"https://ci..example":                             noName,
		"https://*.example":                               noName,
		"https://" + strings.Repeat("a", 64):              noName,
		"https://b\u00fccher.example":                     noURL,
		"https://c\u0131.example":                         noURL,
		"https://\uff11\uff12\uff17.0.0.1":                noURL,
		"https://127\u30020\u30020\u30021":                noURL,
		"https://%31%32%37.0.0.1":                         noURL,
		"https://ci.example\\@mallory.example":            noURL,
		"https://ci.example /":                            noURL,
		"https://ci.example/\n":                           noURL,
		"https://ci.example/\u00fc":                       noURL,
		"https://[::1":                                    noURL,
		"https://ci.example:x":                            noURL,
		"https://x@ci.example":                            user,
		"https://ci.example@mallory.example":              user,
		"https://:@ci.example":                            user,
		"https://ci.example#":                             fragment,
		"https://ci.example/keys#x":                       fragment,
		"https://ci.example:":                             noPort,
		"https://ci.example:0":                            noPort,
		"https://ci.example:0443":                         noPort,
		"https://ci.example:65979":                        noPort,
		"https://ci.example:22":                           port("22", "ci.example:22"),
		"https://ci.example:8443/keys":                    port("8443", "ci.example:8443"),
		"http://ci.example":                               plain("ci.example:80"),
		"http://ci.example:443":                           plain("ci.example:443"),
		"http://169.254.169.254/latest":                   plain("169.254.169.254:80"),
		"http://localhost.mallory.example/keys":           plain("localhost.mallory.example:80"),
		"http://localhost:8080/keys":                      ours("localhost:8080"),
		"http://127.0.0.1:8080":                           ours("127.0.0.1:8080"),
		"http://[::ffff:127.0.0.1]":                       ours("[::ffff:127.0.0.1]"),
		"ftp://ci.example":                                noHTTPS,
		"file:///etc/passwd":                              noHTTPS,
		"gopher://127.0.0.1:6379/_x":                      noHTTPS,
		"javascript:alert(1)":                             noHTTPS,
		"https:ci.example":                                noHTTPS,
		"https:///keys":                                   noHTTPS,
		"https://:443/keys":                               noHTTPS,
		"//ci.example/keys":                               noHTTPS,
		"ci.example":                                      noHTTPS,
		"/keys":                                           noHTTPS,
		"":                                                noHTTPS,
		"https://ci.example/" + strings.Repeat("x", 1006): "is longer than 1024 bytes",
	} {
		var got string
		if err := v.CheckAddress(address); err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%q\n%s\nwant\n%s", address, got, want)
		}
		if err := v.CheckIssuer(address); !strings.Contains(address, "?") && (err == nil) != (want == "") {
			t.Errorf("as an issuer, %q: %v", address, err)
		}
	}
	for _, issuer := range []string{"https://ci.example?", "https://ci.example/?x=y"} {
		if err := v.CheckIssuer(issuer); err == nil || err.Error() != "has a query, which no issuer has; leave out the ? and what follows" {
			t.Errorf("%s: %v", issuer, err)
		}
	}
}

func TestInDevelopmentLoopbackIsListed(t *testing.T) {
	t.Parallel()
	v := New(Config{AllowInsecureLoopback: true})
	t.Cleanup(v.Close)
	for address, ok := range map[string]bool{
		"http://127.0.0.1:8080": true, "http://[::1]:1": true, "http://localhost": true, "https://localhost:8443": true,
		"http://ci.localhost": false, "http://0.0.0.0": false, "http://10.0.0.1": false, "https://10.0.0.1": false,
		"http://localhost.": false, "http://2130706433": false, "http://x@127.0.0.1": false, "http://ci.example": false,
	} {
		if err := v.CheckAddress(address); ok != (err == nil) {
			t.Errorf("%s: %v", address, err)
		}
	}
}

// listener counts the connections that something makes to loopback.
func listener(t *testing.T) (port string, connections *atomic.Int64) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	connections = &atomic.Int64{}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			connections.Add(1)
			conn.Close()
		}
	}()
	_, port, err = net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port, connections
}

// a name that leads to a public address when it is looked at and to
// another when it is used (DNS rebinding).
func TestANameThatLeadsElsewhereAMomentLater(t *testing.T) {
	t.Parallel()
	port, connections := listener(t)
	var used atomic.Bool
	names := dnstest.New(func(string) []netip.Addr {
		if used.Load() {
			return []netip.Addr{netip.MustParseAddr("127.0.0.1")}
		}
		return []netip.Addr{netip.MustParseAddr("8.8.8.8")}
	})
	for _, hosts := range [][]string{nil, {"other.example"}, {"rebind.example:443"}, {"rebind.example:" + port}} {
		g := newGuard(Config{Hosts: hosts, Resolver: names.Resolver()})
		used.Store(false)
		if err := g.checkProxied(t.Context(), &url.URL{Scheme: "https", Host: "rebind.example:" + port}); err != nil {
			t.Fatalf("looked at: %v", err)
		}
		used.Store(true)
		was := connections.Load()
		conn, err := g.dial(t.Context(), "tcp", "rebind.example:"+port)
		if err == nil {
			conn.Close()
		}
		if len(hosts) == 1 && strings.HasSuffix(hosts[0], port) { // the test would notice a connection
			if err != nil {
				t.Errorf("a listed host: %v", err)
			}
			continue
		}
		e, ok := errors.AsType[*addressError](err)
		if !ok || e.host != "rebind.example" || e.addr.String() != "127.0.0.1" || connections.Load() != was {
			t.Errorf("hosts %q: %d connections, %v", hosts, connections.Load()-was, err)
		}
	}
}

// Each of a name's addresses is looked at, whichever comes first.
func TestANameThatLeadsToSeveralAddresses(t *testing.T) {
	t.Parallel()
	port, connections := listener(t)
	names := dnstest.New(dnstest.Table(map[string][]string{
		"inside.example": {"127.0.0.1", "::1", "169.254.169.254", "10.0.0.1", "fd00::1"},
	}))
	g := newGuard(Config{Resolver: names.Resolver()})
	for _, host := range []string{"inside.example", "INSIDE.example", "127.0.0.1", "::1", "::ffff:127.0.0.1"} {
		conn, err := g.dial(t.Context(), "tcp", net.JoinHostPort(host, port))
		if err == nil {
			conn.Close()
		}
		if _, ok := errors.AsType[*addressError](err); !ok {
			t.Errorf("%s: %v", host, err)
		}
	}
	if n := connections.Load(); n != 0 {
		t.Errorf("%d connections", n)
	}
}

// of an issuer's keys that its document has elsewhere, the scheme, the host and the
// port count, each by itself.
func TestA185KeysOnAnotherHost(t *testing.T) {
	t.Parallel()
	v := New(Config{AllowInsecureLoopback: true})
	t.Cleanup(v.Close)
	for _, tt := range []struct {
		issuer, keys string
		ok           bool
	}{
		{"https://ci.example", "https://CI.example:443/keys", true},
		{"https://ci.example", "https://keys.ci.example/keys", false},
		{"https://ci.example", "https://ci.example.mallory.example/keys", false},
		{"http://localhost:8080", "http://localhost:8080/keys", true},
		{"http://localhost:8080", "https://localhost:8080/keys", true},
		{"https://localhost:8080", "http://localhost:8080/keys", false},
		{"http://localhost:8080", "http://localhost:8081/keys", false},
		{"http://localhost:8080", "http://127.0.0.1:8080/keys", false},
	} {
		if err := v.checkMoved(tt.issuer, tt.keys); tt.ok != (err == nil) {
			t.Errorf("keys of %s at %s: %v", tt.issuer, tt.keys, err)
		}
	}
}
