package verify

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// maxAddress bounds an issuer and an address of keys, in bytes.
const maxAddress = 1024

// guard decides where requests may go. An administrator of one organization chooses
// issuers, and must not thereby reach what only this server can: so it is https to
// port 443 of a host with a public name and public addresses, unless the operator
// has said otherwise. What an address says is checked before every request (check);
// to what its host leads, when the connection is made (dial), so that a name that
// leads elsewhere a moment later gains nothing.
type guard struct {
	listed   map[string]bool // host or host:port: any address that is not odd, any port, plain http too
	named    map[string]bool // host:port of an address in the configuration: https, any address that is not odd
	loopback bool            // development
	resolver *net.Resolver
}

func newGuard(cfg Config) *guard {
	g := &guard{listed: map[string]bool{}, named: map[string]bool{}, loopback: cfg.AllowInsecureLoopback, resolver: cfg.Resolver}
	if g.resolver == nil {
		g.resolver = net.DefaultResolver
	}
	for _, host := range cfg.Hosts {
		g.listed[host] = true
	}
	for _, address := range cfg.Configured {
		if u, err := url.Parse(address); err == nil {
			g.named[net.JoinHostPort(hostOf(u), portOf(u))] = true
		}
	}
	return g
}

// check says what is wrong with an address, in words that follow the name of a
// field. It is made at every use: an address that was good when a provider was
// registered may have been changed in the database since.
func (g *guard) check(address string) error {
	u, err := url.Parse(address)
	switch {
	case len(address) > maxAddress:
		return fmt.Errorf("is longer than %d bytes", maxAddress)
	case err != nil || strings.ContainsFunc(address, notPlain):
		return errors.New("is not a URL; non-ASCII characters of its path must be escaped, and those of its host in Punycode")
	case u.Scheme != "https" && u.Scheme != "http" || u.Hostname() == "":
		return errors.New("is not an https URL with a host, such as https://ci.example.com")
	case u.User != nil:
		return errors.New("has user information in it; leave out what is in front of the @")
	case strings.Contains(address, "#"):
		return errors.New("has a fragment; leave out the # and what follows")
	}
	host, port := hostOf(u), portOf(u)
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 || strconv.FormatUint(n, 10) != port || strings.HasSuffix(u.Host, ":") {
		return errors.New("has a port that is not a number from 1 to 65535")
	}
	switch {
	case g.isListed(host, port), g.loopback && isLoopback(host):
		return nil
	case u.Scheme == "http" && isLoopback(host):
		return fmt.Errorf("uses plain http; write https, or have the operator start the server with --dev or list %s in AGENTIDP_ISSUER_HOSTS", u.Host)
	case u.Scheme == "http":
		return fmt.Errorf("uses plain http; write https, or %s", listing(net.JoinHostPort(host, port)))
	case g.named[net.JoinHostPort(host, port)]:
		return nil
	}
	if err := checkName(host); err != nil {
		return err
	}
	if port != "443" {
		return fmt.Errorf("names port %s, and only 443 is asked; %s", port, listing(net.JoinHostPort(host, port)))
	}
	return nil
}

// notPlain: what no URL has in it unescaped (RFC 3986 §2), and clients differ about.
func notPlain(r rune) bool { return r <= ' ' || r > '~' || r == '\\' }

var (
	dnsName = regexp.MustCompile(`^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)*[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)
	number  = regexp.MustCompile(`(^|\.)([0-9]+|0x[0-9a-f]*)$`)

	// notGlobal are names that mean something else in every network (RFC 6761, RFC
	// 6762, RFC 7686, RFC 8375, and what ICANN reserved for private use), those of the
	// services of a Kubernetes cluster, and two services whose names are addresses in
	// other words.
	notGlobal = regexp.MustCompile(`(^|\.)(localhost|local|localdomain|internal|intranet|private|corp|home|lan|svc|arpa|onion|nip\.io|sslip\.io)$`)
)

// checkName refuses hosts that are not the name of a public one. It asks nobody;
// what the name leads to is seen when it is used.
func checkName(host string) error {
	_, err := netip.ParseAddr(host)
	switch {
	case err == nil:
		return fmt.Errorf("names the address %s instead of a host; give the host's name, or %s", host, listing(bracketed(host)))
	case strings.HasSuffix(host, "."):
		return fmt.Errorf("names the host %s with a dot at its end; leave it out", host)
	case number.MatchString(host):
		return fmt.Errorf("names %s, which some clients take for an IP address; give the host's name", host)
	case len(host) > 253 || !dnsName.MatchString(host):
		return errors.New("names a host that is not a DNS name of letters, digits, hyphens and dots")
	case notGlobal.MatchString(host) || !strings.Contains(host, "."):
		return fmt.Errorf("names the host %s, which is not one of the public internet; %s", host, listing(host))
	}
	return nil
}

// listing is the remedy that only the operator has.
func listing(host string) string {
	return "if it is right, have the operator list " + host + " in AGENTIDP_ISSUER_HOSTS"
}

// dial connects for a request to addr, which is host:port. The address is checked
// that the connection really goes to.
func (g *guard) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	d := &net.Dialer{Resolver: g.resolver}
	d.ControlContext = func(_ context.Context, _, actual string, _ syscall.RawConn) error {
		at, err := netip.ParseAddrPort(actual)
		if err != nil {
			return err
		}
		return g.checkAddr(strings.ToLower(host), port, at.Addr())
	}
	return d.DialContext(ctx, network, addr)
}

// lookupTimeout bounds the look-up in front of a proxy: where only the proxy can
// resolve names, ours may not even be answered.
const lookupTimeout = time.Second

// checkProxied checks the host of a request that goes through a proxy, which resolves
// the name again and makes the connection. So this keeps out the names that are known
// here to lead inside, and nothing more: a name that only the proxy knows passes, and
// what the proxy connects to is for its own rules.
func (g *guard) checkProxied(ctx context.Context, u *url.URL) error {
	host, port := hostOf(u), portOf(u)
	if addr, err := netip.ParseAddr(host); err == nil {
		return g.checkAddr(host, port, addr)
	}
	ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	addrs, err := g.resolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return nil
	}
	for _, addr := range addrs {
		if err := g.checkAddr(host, port, addr); err != nil {
			return err
		}
	}
	return nil
}

// checkAddr decides whether a host may be where addr is.
func (g *guard) checkAddr(host, port string, addr netip.Addr) error {
	is := classify(addr)
	switch {
	case is.nature == public:
		return nil
	case is.nature == private && (g.isListed(host, port) || g.named[net.JoinHostPort(host, port)]):
		return nil
	case g.loopback && isLoopback(host) && addr.Unmap().IsLoopback():
		return nil
	}
	return &addressError{host, addr, is}
}

func (g *guard) isListed(host, port string) bool {
	return g.listed[bracketed(host)] || g.listed[net.JoinHostPort(host, port)]
}

// hostOf returns the host of a URL in lower case, without brackets.
func hostOf(u *url.URL) string { return strings.ToLower(u.Hostname()) }

// portOf returns the port that a URL names or implies.
func portOf(u *url.URL) string {
	if port := u.Port(); port != "" {
		return port
	}
	return map[string]string{"https": "443", "http": "80"}[u.Scheme]
}

// bracketed writes an IPv6 address as a URL does.
func bracketed(host string) string {
	if strings.Contains(host, ":") {
		return "[" + host + "]"
	}
	return host
}

func isLoopback(host string) bool {
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && addr.Unmap().IsLoopback()
}
