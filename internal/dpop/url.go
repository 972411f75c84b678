package dpop

import (
	"net/url"
	"strings"
)

// sameURL compares the URL that a proof names with that of the request: after the
// normalization of RFC 3986 §6.2.2 and §6.2.3, and without query and fragment (RFC 9449
// §4.3).
func sameURL(claimed, ours string) bool {
	if len(claimed) > maxURL {
		return false
	}
	a, ok := normal(claimed)
	if !ok {
		return false
	}
	b, ok := normal(ours)
	return ok && a == b
}

// target is what is compared of a URL.
type target struct{ scheme, host, port, path string }

var defaultPorts = map[string]string{"http": "80", "https": "443"}

// normal returns the normal form of an absolute http or https URL; ok is false for
// anything else.
func normal(raw string) (t target, ok bool) {
	u, err := url.Parse(raw)
	if err != nil || u.User != nil || u.Hostname() == "" {
		return target{}, false
	}
	t = target{scheme: u.Scheme, host: strings.ToLower(u.Hostname()), port: u.Port()} // Parse has the scheme in lower case
	def, ok := defaultPorts[t.scheme]
	if t.port == "" {
		t.port = def
	}
	// What is decoded first may be a dot (RFC 3986 §6.2.2.2, §6.2.2.3).
	u.RawPath = decodeUnreserved(u.EscapedPath())
	if u.Path, err = url.PathUnescape(u.RawPath); err != nil {
		return target{}, false
	}
	t.path = u.ResolveReference(u).EscapedPath() // without dot segments
	if t.path == "" {
		t.path = "/"
	}
	return t, ok
}

// decodeUnreserved decodes what need not be encoded, and writes what must be in upper
// case: %7e is ~, and %2f stays %2F, which is no slash.
func decodeUnreserved(path string) string {
	if !strings.Contains(path, "%") {
		return path
	}
	var b strings.Builder
	for i := 0; i < len(path); i++ {
		if path[i] != '%' { // Parse has seen to it that two digits follow
			b.WriteByte(path[i])
			continue
		}
		c := unhex(path[i+1])<<4 | unhex(path[i+2])
		if isUnreserved(c) {
			b.WriteByte(c)
		} else {
			b.WriteString(strings.ToUpper(path[i : i+3]))
		}
		i += 2
	}
	return b.String()
}

func unhex(c byte) byte {
	switch {
	case c <= '9':
		return c - '0'
	case c <= 'F':
		return c - 'A' + 10
	}
	return c - 'a' + 10
}

// isUnreserved says what means the same encoded or not (RFC 3986 §2.3).
func isUnreserved(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte("-._~", c) >= 0
}
