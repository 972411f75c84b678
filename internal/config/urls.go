package config

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// completeURLs checks the addresses, alone and against each other. The default
// public URL is true only where no other machine can reach the listener: anywhere
// else every installation would have the same issuer, http://localhost.
func (c *Config) completeURLs() error {
	host, port, err := net.SplitHostPort(c.Listen)
	listens := err == nil && isPort(port)
	var errs []error
	switch {
	case !listens:
		errs = append(errs, fmt.Errorf("listen (AGENTIDP_LISTEN): %q is not host:port, for example 127.0.0.1:8080", c.Listen))
	case c.Dev && !IsLoopback(host):
		errs = append(errs, fmt.Errorf("dev (AGENTIDP_DEV): refused with listen %q, which is not on loopback; development trusts plain-http issuers", c.Listen))
	case c.PublicURL == "" && !IsLoopback(host):
		errs = append(errs, fmt.Errorf("public-url (AGENTIDP_PUBLIC_URL): needed with listen %q, which is not on loopback; give the URL under which clients reach this server, such as https://idp.example.com", c.Listen))
	}
	if c.PublicURL == "" {
		c.PublicURL = localURL(c.TLS(), listens, port)
	}
	errs = append(errs, c.checkTLS(), CheckPublicURL(c.PublicURL), c.checkIssuer(), c.checkIssuerHosts(), c.checkSecurityContact())
	if c.GitHubIssuer == c.PublicURL || strings.HasPrefix(c.GitHubIssuer, c.PublicURL+"/o/") {
		errs = append(errs, fmt.Errorf("github-issuer (AGENTIDP_GITHUB_ISSUER): %q is this server itself, and its own tokens must not buy others; give the CI's issuer", c.GitHubIssuer))
	}
	if u, err := url.Parse(c.PublicURL); c.Dev && err == nil && !IsLoopback(u.Hostname()) {
		errs = append(errs, fmt.Errorf("dev (AGENTIDP_DEV): refused with public URL %q, which is not on loopback", c.PublicURL))
	}
	return errors.Join(errs...)
}

func localURL(tls, listens bool, port string) string {
	scheme, usual := "http", "80"
	if tls {
		scheme, usual = "https", "443"
	}
	switch {
	case !listens || port == "0":
		port = "8080"
	case port == usual:
		return scheme + "://localhost"
	}
	return scheme + "://localhost:" + port
}

// TLS reports whether the listener speaks TLS.
func (c *Config) TLS() bool { return c.TLSCertFile != "" || c.TLSKeyFile != "" }

func (c *Config) checkTLS() error {
	switch {
	case !c.TLS():
		return nil
	case c.TLSKeyFile == "":
		return errors.New("tls-key-file (AGENTIDP_TLS_KEY_FILE): needed with tls-cert-file; give the certificate's private key")
	case c.TLSCertFile == "":
		return errors.New("tls-cert-file (AGENTIDP_TLS_CERT_FILE): needed with tls-key-file; give the key's certificate with its chain")
	case strings.HasPrefix(c.PublicURL, "http://") && CheckPublicURL(c.PublicURL) == nil:
		return fmt.Errorf("public-url (AGENTIDP_PUBLIC_URL): %q uses plain http, and with tls-cert-file the listener does not; use https", c.PublicURL)
	}
	return nil
}

// CheckPublicURL refuses what is not exactly scheme, host and port, or could be
// written in another way: clients compare an issuer byte for byte.
func CheckPublicURL(s string) error {
	const name = "public-url (AGENTIDP_PUBLIC_URL)"
	u, err := url.Parse(s)
	switch {
	case err != nil || u.Hostname() == "" || u.Scheme+"://"+u.Host != s || strings.ToLower(s) != s || strings.HasSuffix(s, ":") || u.Port() != "" && !isPort(u.Port()) || u.Port() == "0":
		return fmt.Errorf("%s: %q is not just scheme, host and port in lower case, such as https://idp.example.com; leave out path, query and trailing slash", name, s)
	case u.Scheme != "https" && u.Scheme != "http":
		return fmt.Errorf("%s: %q is neither https nor http", name, s)
	case !isHost(u.Hostname()):
		return fmt.Errorf("%s: the host of %q is neither a DNS name nor an IP address in its usual form", name, s)
	case u.Scheme == "http" && !IsLoopback(u.Hostname()):
		return fmt.Errorf("%s: %q uses plain http, which is for loopback only; use https", name, s)
	case u.Port() == map[string]string{"https": "443", "http": "80"}[u.Scheme]:
		return fmt.Errorf("%s: %q names the default port, which most clients leave out; write %s", name, s, strings.TrimSuffix(s, ":"+u.Port()))
	}
	return nil
}

func (c *Config) checkIssuer() error {
	const name = "github-issuer (AGENTIDP_GITHUB_ISSUER)"
	s := c.GitHubIssuer
	u, err := url.Parse(s)
	if err != nil || u.Hostname() == "" || u.User != nil || strings.ContainsAny(s, "?#") || strings.HasSuffix(s, "/") {
		return fmt.Errorf("%s: %q is not an issuer URL such as https://token.actions.githubusercontent.com; it has no trailing slash, query or user", name, s)
	}
	switch {
	case u.Scheme == "https":
		return nil
	case u.Scheme == "http" && (IsLoopback(u.Hostname()) && c.Dev || c.listsHost(u)):
		return nil
	case u.Scheme == "http" && IsLoopback(u.Hostname()):
		return fmt.Errorf("%s: %q uses plain http; for a local issuer start with --dev (AGENTIDP_DEV=true)", name, s)
	}
	return fmt.Errorf("%s: %q must use https", name, s)
}

// listsHost reports whether IssuerHosts has the host of a URL.
func (c *Config) listsHost(u *url.URL) bool {
	host := strings.ToLower(u.Host)
	if u.Port() == "" {
		host += map[string]string{"https": ":443", "http": ":80"}[u.Scheme]
	}
	return slices.Contains(c.IssuerHosts, host) || slices.Contains(c.IssuerHosts, host[:strings.LastIndexByte(host, ':')])
}

// checkIssuerHosts refuses entries that could never equal the host of an issuer, or
// that look as if they stood for several.
func (c *Config) checkIssuerHosts() error {
	var errs []error
	for _, entry := range c.IssuerHosts {
		host, port := entry, ""
		if i := strings.LastIndexByte(entry, ':'); i > strings.LastIndexByte(entry, ']') {
			host, port = entry[:i], entry[i+1:]
		}
		bare := strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
		bracketed := strings.Contains(bare, ":")
		if !isHost(bare) || bracketed != (host != bare) || host != entry && (!isPort(port) || port == "0") {
			errs = append(errs, fmt.Errorf("issuer-hosts (AGENTIDP_ISSUER_HOSTS): %q is not a host or host:port in lower case, such as ghes.internal or ci.internal:8443; leave out scheme, path and spaces, name every host (there are no wildcards), and write an IPv6 address in brackets", entry))
		}
	}
	return errors.Join(errs...)
}

var (
	dnsName = regexp.MustCompile(`^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)*[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)
	number  = regexp.MustCompile(`(^|\.)([0-9]+|0x[0-9a-f]*)$`)
)

// isHost reports whether a host is a DNS name (RFC 1123 §2.1, lower case) or an IP
// address in canonical form. A name that ends in a number is neither: many clients
// take it for an address.
func isHost(host string) bool {
	if ip, err := netip.ParseAddr(host); err == nil {
		return ip.String() == host
	}
	return len(host) <= 253 && dnsName.MatchString(host) && !number.MatchString(host)
}

// isPort reports whether s is the number of a TCP port; 0 is any free one.
func isPort(s string) bool {
	n, err := strconv.ParseUint(s, 10, 16)
	return err == nil && strconv.FormatUint(n, 10) == s
}

// IsLoopback reports whether a host name or address can only be this machine.
func IsLoopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

// checkSecurityContact wants what RFC 9116 §2.5.3 takes as a contact: one URI, on a line of
// its own. In one that has a comma, it is most likely two.
func (c *Config) checkSecurityContact() error {
	s := c.SecurityContact
	u, err := url.Parse(s)
	ok := err == nil && !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' || r == ',' })
	switch {
	case s == "":
		return nil
	case ok && u.Scheme == "mailto" && strings.IndexByte(u.Opaque, '@') > 0 && !strings.HasSuffix(u.Opaque, "@"):
		return nil
	case ok && u.Scheme == "https" && u.Hostname() != "" && u.User == nil, ok && u.Scheme == "tel" && u.Opaque != "":
		return nil
	}
	return fmt.Errorf("security-contact (AGENTIDP_SECURITY_CONTACT): %q is not one mailto:, https: or tel: URI; give one, without a comma, such as mailto:security@example.com, https://example.com/security or tel:+1-201-555-0123", s)
}
