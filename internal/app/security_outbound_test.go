package app

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/certtest"
	"github.com/sentryagent/agentidp/internal/config"
	"github.com/sentryagent/agentidp/internal/pace"
)

// inside are addresses that nothing is fetched from, and what the operator is told that
// they are. A host that he listed may be at one that is private, and at no other.
var inside = []struct {
	name, addr, is string
	private        bool
}{
	{"loopback", "127.0.0.1", "loopback", true},
	{"loopback, not the usual one", "127.8.8.8", "loopback", true},
	{"loopback of IPv6", "::1", "loopback", true},
	{"private, of class A", "10.0.0.1", "private", true},
	{"private, of class B", "172.31.255.254", "private", true},
	{"private, of class C", "192.168.0.1", "private", true},
	{"private, of IPv6", "fd12:3456:789a::1", "private", true},
	{"a carrier's", "100.64.0.1", "shared by the customers of a carrier", true},
	{"for benchmarks", "198.18.0.1", "for benchmarks", true},
	{"private, mapped", "::ffff:10.0.0.1", "private", true},
	{"private, behind NAT64", "64:ff9b::10.0.0.1", "private", true},
	{"link-local", "169.254.169.254", "link-local, where clouds have their metadata", false},
	{"link-local, mapped", "::ffff:169.254.169.254", "link-local, where clouds have their metadata", false},
	{"link-local, behind NAT64", "64:ff9b::169.254.169.254", "link-local, where clouds have their metadata", false},
	{"link-local of IPv6", "fe80::1", "link-local", false},
	{"Amazon's metadata", "fd00:ec2::254", "where a cloud has its metadata", false},
	{"Google's metadata", "fd20:ce::254", "where a cloud has its metadata", false},
	{"Alibaba's metadata", "100.100.100.200", "where a cloud has its metadata", false},
	{"Azure's metadata", "168.63.129.16", "where a cloud has its metadata", false},
	{"behind a NAT64 of the network's own", "64:ff9b:1::a00:1", "one that a gateway translates (NAT64)", false},
	{"6to4", "2002:a00:1::1", "one that carries another (6to4)", false},
	{"Teredo", "2001:0:4136:e378:8000:63bf:3fff:fdd2", "one that carries another (Teredo)", false},
	{"ISATAP", "2a00:1450:4001:800:0:5efe:10.0.0.1", "one that carries another (ISATAP)", false},
	{"IPv4-compatible", "::10.0.0.1", "reserved", false},
	{"IPv4-translated", "::ffff:0:10.0.0.1", "reserved", false},
	{"site-local", "fec0::1", "reserved", false},
	{"multicast", "239.1.2.3", "multicast", false},
	{"multicast of IPv6", "ff0e::1", "multicast", false},
	{"unspecified", "0.0.0.0", "unspecified", false},
	{"unspecified, of IPv6", "::", "unspecified", false},
	{"for documentation", "192.0.2.1", "for documentation", false},
	{"for documentation, of IPv6", "2001:db8::1", "for documentation", false},
	{"reserved", "240.0.0.1", "reserved", false},
	{"broadcast", "255.255.255.255", "reserved", false},
	{"reserved for protocols", "192.0.0.192", "reserved for protocols", false},
}

// TestSecurityWhereNamesLead: the address is good to look at, and its host leads
// inside. It is seen when the connection is made, so nothing that was true of the
// name before matters.
func TestSecurityWhereNamesLead(t *testing.T) {
	t.Parallel()
	s := newSource(t)
	refused := func(name, addr, is string) {
		host := nameOf(netip.MustParseAddr(addr))
		t.Run("A-188 "+name, func(t *testing.T) {
			f := s.in(t)
			issuer := "https://" + agentidp.NewID(f.clock.Now()) + ".example"
			f.provider(issuer[8:44], issuer, "https://"+host+"/jwks", "ES256")
			line := host + " is at " + netip.MustParseAddr(addr).Unmap().String() + ", which is " + is + `"`
			told := func() int { return strings.Count(f.logs.String(), line) }
			asked, was := f.dns.Asked(), told()
			f.becomes(compact(header("ES256", "k1"), f.payload(claims{"iss": issuer}), s.k1), agentidp.CodeIssuerUnreachable)
			if f.dns.Asked() == asked {
				t.Error("the name was not looked up")
			}
			pace.Eventually(t, "the operator is told", func() bool { return told() > was })
		})
	}
	var odd []string
	for _, at := range inside {
		refused(at.name, at.addr, at.is)
		if !at.private {
			odd = append(odd, nameOf(netip.MustParseAddr(at.addr)))
		}
	}

	// The operator's word opens what is private; what is odd, nobody's does.
	s.restart(func(c *config.Config) { c.IssuerHosts = odd })
	s.clock.advance(5 * time.Second) // what failed for one server is not asked for at once by the next
	for _, at := range inside {
		if !at.private {
			refused(at.name+", though it is listed", at.addr, at.is)
		}
	}

	// He may allow it, and takes it back with the next start: not even keys that were
	// fetched meanwhile are used then.
	t.Run("A-188 a host that is no longer listed", func(t *testing.T) {
		f := s.in(t)
		host := strings.TrimPrefix(s.keys.URL, "http://")
		f.restart(func(c *config.Config) {
			c.Dev, c.IssuerHosts = false, []string{host, strings.TrimPrefix(f.issuer, "http://")}
		})
		f.becomesAfter(1, s.by("k1", s.k1), "granted")
		f.restart(func(c *config.Config) { c.IssuerHosts = c.IssuerHosts[1:] })
		f.becomesAfter(0, s.by("k1", s.k1), agentidp.CodeIssuerUnreachable)
		f.becomes(f.signed(), "granted")
	})
}

// secure is a publisher behind TLS, that counts whoever gets through to it.
func (f *forger) secure(keys string, cfg *tls.Config) *publisher {
	p := f.publisher(keys)
	plain := p.Server
	p.Server = httptest.NewUnstartedServer(plain.Config.Handler)
	p.Config.ErrorLog = log.New(io.Discard, "", 0)
	p.TLS = cfg
	p.StartTLS()
	f.t.Cleanup(p.Close)
	return p
}

func expired(c *x509.Certificate) {
	c.NotBefore, c.NotAfter = c.NotBefore.AddDate(-1, 0, 0), time.Now().Add(-time.Hour)
}

// TestSecurityA190WhoIsBelieved: keys come from whoever can prove the host's name, by
// today's TLS, and from nobody else, though the operator listed the host.
func TestSecurityA190WhoIsBelieved(t *testing.T) {
	t.Parallel()
	s := newSource(t)
	admin := s.admin()
	const untrusted = "its certificate is not from an authority that this server trusts"
	for name, tt := range map[string]struct {
		change  func(*x509.Certificate)
		config  *tls.Config
		unknown bool   // nobody trusts the authority
		says    string // to an administrator; empty: it is good
	}{
		"good, with TLS 1.3":               {config: &tls.Config{MinVersion: tls.VersionTLS13}},
		"good, with TLS 1.2":               {config: &tls.Config{MaxVersion: tls.VersionTLS12}},
		"TLS 1.1":                          {config: &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}, says: "there was no answer that could be read. The server's log has more"},
		"TLS 1.0":                          {config: &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS10}, says: "there was no answer that could be read. The server's log has more"},
		"a certificate that has expired":   {change: expired, says: "its certificate has expired or is not yet valid"},
		"a certificate of tomorrow":        {change: func(c *x509.Certificate) { c.NotBefore = time.Now().Add(time.Minute) }, says: "its certificate has expired or is not yet valid"},
		"a certificate of another host":    {change: func(c *x509.Certificate) { c.IPAddresses, c.DNSNames = nil, []string{"mallory.example"} }, says: "its certificate is for another host"},
		"a certificate of the name alone":  {change: func(c *x509.Certificate) { c.IPAddresses, c.Subject.CommonName = nil, "127.0.0.1" }, says: "its certificate is for another host"},
		"a certificate of clients":         {change: func(c *x509.Certificate) { c.ExtKeyUsage[0] = x509.ExtKeyUsageClientAuth }, says: untrusted},
		"a certificate of nobody known":    {unknown: true, says: untrusted},
		"a certificate of nobody, expired": {unknown: true, change: expired, says: ""},
	} {
		cert := certtest.New(tt.change)
		if !tt.unknown {
			s.issuers.AddCert(cert.Leaf)
		}
		if tt.config == nil {
			tt.config = &tls.Config{}
		}
		tt.config.Certificates = []tls.Certificate{cert}
		keys := s.secure(s.set1, tt.config)
		t.Run("A-190 "+name, func(t *testing.T) {
			f := s.in(t)
			f.clock.advance(5 * time.Second) // between looks at one host
			issuer := "https://" + agentidp.NewID(f.clock.Now()) + ".example"
			f.provider(issuer[8:44], issuer, keys.URL+"/jwks", "ES256")
			token := compact(header("ES256", "k1"), f.payload(claims{"iss": issuer}), s.k1)
			if strings.HasPrefix(name, "good") {
				f.becomesAfter(1, token, "granted")
				return
			}
			f.becomesAfter(0, token, agentidp.CodeIssuerUnreachable)
			report := f.want(f.do(http.MethodPost, providersPath+"/"+issuer[8:44]+"/test", admin, nil), 200)
			if report.Body["usable"] != false || !strings.Contains(string(report.Raw), tt.says) {
				t.Errorf("the administrator reads %s", report.Raw)
			}
		})
	}
}
