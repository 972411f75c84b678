package dpop_test

import (
	"encoding/base64"
	"strings"
	"testing"

	"github.com/sentryagent/agentidp/internal/dpop"
)

func b64(data []byte) string { return base64.RawURLEncoding.EncodeToString(data) }

// RFC 3986 §6.2.2 and §6.2.3, and RFC 9449 §4.3 number 9.
func TestTheURLOfAProof(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, htu, ours string
		want            bool
	}{
		{"as it is", here, here, true},
		{"scheme and host in upper case", "HTTPS://IDP.Example.COM/o/acme/oauth2/token", here, true},
		{"the path in another case", "https://idp.example.com/o/ACME/oauth2/token", here, false},
		{"the default port", "https://idp.example.com:443/o/acme/oauth2/token", here, true},
		{"an empty port", "https://idp.example.com:/o/acme/oauth2/token", here, true},
		{"another port", "https://idp.example.com:8443/o/acme/oauth2/token", here, false},
		{"the port of the other scheme", "https://idp.example.com:80/o/acme/oauth2/token", here, false},
		{"a query and a fragment", here + "?audience=x#y", here, true},
		{"letters that need not be encoded", "https://idp.example.com/o/%61cm%65/oauth2/tok%65n", here, true},
		{"a slash that is encoded", "https://idp.example.com/o/acme%2Foauth2/token", here, false},
		{"encoded in lower case", "https://idp.example.com/a%2fb", "https://idp.example.com/a%2Fb", true},
		{"dots within", "https://idp.example.com/o/./x/../acme/oauth2/token", here, true},
		{"dots that are encoded", "https://idp.example.com/o/x/%2e%2E/acme/oauth2/token", here, true},
		{"a slash at the end", here + "/", here, false},
		{"two slashes", "https://idp.example.com//o/acme/oauth2/token", here, false},
		{"no path is the root", "https://idp.example.com", "https://idp.example.com/", true},
		{"another scheme", "http://idp.example.com/o/acme/oauth2/token", here, false},
		{"no scheme", "//idp.example.com/o/acme/oauth2/token", here, false},
		{"no host", "/o/acme/oauth2/token", here, false},
		{"opaque", "https:idp.example.com/o/acme/oauth2/token", here, false},
		{"a user", "https://me@idp.example.com/o/acme/oauth2/token", here, false},
		{"a user that looks like the host", "https://idp.example.com@evil.example/o/acme/oauth2/token", here, false},
		{"a host that ends in a dot", "https://idp.example.com./o/acme/oauth2/token", here, false},
		{"a white space before", " " + here, here, false},
		{"an address of IPv6", "http://[::1]:8080/oauth2/token", "http://[::1]:8080/oauth2/token", true},
		{"an escape that is none", "https://idp.example.com/o/acme/oauth2/tok%zz", here, false},
		{"longer than any URL of ours", here + "?" + strings.Repeat("x", 2<<10), here, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			_, err := dpop.Check([]string{claim("htu", test.htu)}, "POST", test.ours, accessToken, now)
			if (err == nil) != test.want {
				t.Errorf("accepted: %t; %v", err == nil, err)
			}
		})
	}
}
