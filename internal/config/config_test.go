package config_test

import (
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/sentryagent/agentidp/internal/config"
)

func good() config.Config {
	return config.Config{
		Listen: "127.0.0.1:8080", GitHubIssuer: "https://token.actions.githubusercontent.com",
		SigningAlg: "ES256", TokenTTL: 15 * time.Minute, KeepClaims: 30 * 24 * time.Hour, Limits: config.Limits{RefusalsPerMinute: 60},
	}
}

func TestDefaults(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		change func(*config.Config)
		want   func(*config.Config) (got, want string)
	}{
		{"data is beside the program", func(*config.Config) {}, func(c *config.Config) (string, string) { return c.DataDir, "./data" }},
		{"the database is in the data directory", func(c *config.Config) { c.DataDir = "/x" }, func(c *config.Config) (string, string) { return c.DatabaseURL, "sqlite:/x/agentidp.db" }},
		{"so is the master key", func(c *config.Config) { c.DataDir = "/x" }, func(c *config.Config) (string, string) { return c.MasterKeyFile, filepath.Join("/x", "master.key") }},
		{"the public URL has the port listened on", func(c *config.Config) { c.Listen = "127.0.0.1:9000" }, func(c *config.Config) (string, string) { return c.PublicURL, "http://localhost:9000" }},
		{"but for the default port", func(c *config.Config) { c.Listen = "localhost:80" }, func(c *config.Config) (string, string) { return c.PublicURL, "http://localhost" }},
		{"with any free port it has the usual one", func(c *config.Config) { c.Listen = "127.0.0.1:0" }, func(c *config.Config) (string, string) { return c.PublicURL, "http://localhost:8080" }},
		{"with TLS it has https", func(c *config.Config) { c.Listen, c.TLSCertFile, c.TLSKeyFile = "127.0.0.1:8443", "c", "k" }, func(c *config.Config) (string, string) { return c.PublicURL, "https://localhost:8443" }},
		{"with TLS another port is the default one", func(c *config.Config) { c.Listen, c.TLSCertFile, c.TLSKeyFile = "127.0.0.1:443", "c", "k" }, func(c *config.Config) (string, string) { return c.PublicURL, "https://localhost" }},
		{"what is set stays", func(c *config.Config) { c.PublicURL = "https://idp.example.com" }, func(c *config.Config) (string, string) { return c.PublicURL, "https://idp.example.com" }},
		{"nothing listens for metrics unless it is said", func(*config.Config) {}, func(c *config.Config) (string, string) { return c.MetricsListen, "off" }},
		{"the log has what is worth a line", func(*config.Config) {}, func(c *config.Config) (string, string) { return c.LogLevel, "info" }},
		{"logs fit where they go", func(*config.Config) {}, func(c *config.Config) (string, string) { return c.LogFormat, "auto" }},
		{"a password in a database URL is not shown", func(c *config.Config) { c.DatabaseURL = "postgres://u:secret@db/x" }, func(c *config.Config) (string, string) { return c.Kind(), "postgres" }},
		{"where SQLite is may be shown", func(c *config.Config) { c.DatabaseURL = "sqlite:/x/y.db" }, func(c *config.Config) (string, string) { return c.Kind(), "sqlite:/x/y.db" }},
	} {
		c := good()
		tt.change(&c)
		if err := c.Complete(); err != nil {
			t.Errorf("%s: %v", tt.name, err)
		}
		if got, want := tt.want(&c); got != want {
			t.Errorf("%s: %q, want %q", tt.name, got, want)
		}
	}
}

func TestGoodConfigurations(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		change func(*config.Config)
	}{
		{"a public URL with https", func(c *config.Config) { c.PublicURL = "https://idp.example.com" }},
		{"a public URL with a port", func(c *config.Config) { c.PublicURL = "https://idp.example.com:8443" }},
		{"plain http on an address of loopback", func(c *config.Config) { c.PublicURL = "http://127.0.0.1:8080" }},
		{"plain http on IPv6 loopback", func(c *config.Config) { c.PublicURL = "http://[::1]:8080" }},
		{"plain http on loopback without a port", func(c *config.Config) { c.PublicURL = "http://localhost" }},
		{"a public URL with an IPv6 address", func(c *config.Config) { c.PublicURL = "https://[2001:db8::1]" }},
		{"a public URL with a name of one label", func(c *config.Config) { c.PublicURL = "https://idp" }},
		{"a public URL with an internationalized name", func(c *config.Config) { c.PublicURL = "https://xn--bcher-kva.example" }},
		{"proxies", func(c *config.Config) {
			c.TrustedProxies = []string{"10.0.0.0/8", " 192.0.2.7", "2001:db8::/32", "::1"}
		}},
		{"no limit but that of recorded refusals", func(c *config.Config) { c.Limits = config.Limits{RefusalsPerMinute: 60} }},
		{"https on the port of http", func(c *config.Config) { c.PublicURL = "https://idp.example.com:80" }},
		{"all addresses, for this machine alone", func(c *config.Config) { c.Listen, c.PublicURL = "0.0.0.0:8080", "http://localhost:8080" }},
		{"an issuer beside the server, under another path", func(c *config.Config) {
			c.PublicURL, c.GitHubIssuer = "https://ghes.example.com", "https://ghes.example.com/_services/token"
		}},
		{"all addresses, with TLS", func(c *config.Config) {
			c.Listen, c.PublicURL, c.TLSCertFile, c.TLSKeyFile = ":8443", "https://idp.example.com", "c", "k"
		}},
		{"all addresses, behind a proxy", func(c *config.Config) { c.Listen, c.PublicURL = ":8080", "https://idp.example.com" }},
		{"IPv6", func(c *config.Config) { c.Listen = "[::1]:8080" }},
		{"PostgreSQL", func(c *config.Config) { c.DatabaseURL = "postgres://u@db.example.com/agentidp?sslmode=verify-full" }},
		{"an issuer of an enterprise", func(c *config.Config) { c.GitHubIssuer = "https://token.actions.githubusercontent.com/acme" }},
		{"an issuer of GitHub Enterprise Server", func(c *config.Config) { c.GitHubIssuer = "https://ghes.example.com/_services/token" }},
		{"an issuer on loopback, in development", func(c *config.Config) { c.GitHubIssuer, c.Dev = "http://localhost:9999", true }},
		{"hosts of issuers", func(c *config.Config) {
			c.IssuerHosts = []string{"ghes.internal", "ci.internal:8443", "ci", "localhost", "10.0.0.5", "10.0.0.5:8443", "[fd00::5]", "[fd00::5]:8443", "xn--bcher-kva.example"}
		}},
		{"a plain-http issuer whose host is listed", func(c *config.Config) {
			c.GitHubIssuer, c.IssuerHosts = "http://GHES.internal/_services/token", []string{"ghes.internal"}
		}},
		{"a plain-http issuer whose port is listed", func(c *config.Config) {
			c.GitHubIssuer, c.IssuerHosts = "http://ci.internal", []string{"ci.internal:80"}
		}},
		{"a plain-http issuer at an IPv6 address that is listed", func(c *config.Config) { c.GitHubIssuer, c.IssuerHosts = "http://[fd00::5]:8080", []string{"[fd00::5]"} }},
		{"RS256", func(c *config.Config) { c.SigningAlg = "RS256" }},
		{"EdDSA", func(c *config.Config) { c.SigningAlg = "EdDSA" }},
		{"logs as text", func(c *config.Config) { c.LogFormat = "text" }},
		{"logs as JSON", func(c *config.Config) { c.LogFormat = "json" }},
		{"all that is logged", func(c *config.Config) { c.LogLevel = "debug" }},
		{"metrics for a scraper elsewhere", func(c *config.Config) { c.MetricsListen = "0.0.0.0:9090" }},
		{"metrics on any free port", func(c *config.Config) { c.MetricsListen = "127.0.0.1:0" }},
		{"both listeners on any free port", func(c *config.Config) { c.Listen, c.MetricsListen = "127.0.0.1:0", "127.0.0.1:0" }},
		{"profiles on loopback", func(c *config.Config) { c.MetricsListen, c.Pprof = "[::1]:9090", true }},
		{"the shortest life", func(c *config.Config) { c.TokenTTL = time.Minute }},
		{"the longest life", func(c *config.Config) { c.TokenTTL = time.Hour }},
		{"keys that are rotated every day", func(c *config.Config) { c.KeyRotation = 24 * time.Hour }},
		{"all is kept for ever", func(c *config.Config) { c.KeyRotation, c.KeepDecisions, c.KeepEvents = 0, 0, 0 }},
		{"no claims are kept", func(c *config.Config) { c.KeepClaims = 0 }},
		{"claims of several providers", record("github:actor", " cluster:kubernetes.io", "cluster:https://example.com/team", "github:repo_property_tier", "ghes:actr")},
		{"the longest drain", func(c *config.Config) { c.Drain = time.Minute }},
	} {
		c := good()
		tt.change(&c)
		if err := c.Complete(); err != nil {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}

// Each sentence names the setting and the remedy.
func TestWrongConfigurations(t *testing.T) {
	t.Parallel()
	const (
		noURL     = "is not just scheme, host and port in lower case, such as https://idp.example.com; leave out path, query and trailing slash"
		noIssuer  = "is not an issuer URL such as https://token.actions.githubusercontent.com; it has no trailing slash, query or user"
		noListen  = "is not host:port, for example 127.0.0.1:8080"
		noTTL     = "is not between 1m and 1h in whole seconds"
		noHost    = "is neither a DNS name nor an IP address in its usual form"
		usual     = "names the default port, which most clients leave out; write "
		itself    = "is this server itself, and its own tokens must not buy others; give the CI's issuer"
		noAlg     = "is none of ES256, RS256, EdDSA"
		noEntry   = "is not a host or host:port in lower case, such as ghes.internal or ci.internal:8443; leave out scheme, path and spaces, name every host (there are no wildcards), and write an IPv6 address in brackets"
		noClaim   = "is not PROVIDER:CLAIM, such as cluster:kubernetes.io; several are separated by commas"
		noMetrics = "is not host:port, for example 127.0.0.1:9090; off disables it"
		noProxy   = "is neither an address nor a network; give 192.0.2.7 or 10.0.0.0/8, several separated by commas"
	)
	public := func(s string) func(*config.Config) { return func(c *config.Config) { c.PublicURL = s } }
	issuer := func(s string) func(*config.Config) { return func(c *config.Config) { c.GitHubIssuer = s } }
	listen := func(s string) func(*config.Config) { return func(c *config.Config) { c.Listen = s } }
	hosts := func(s ...string) func(*config.Config) { return func(c *config.Config) { c.IssuerHosts = s } }
	metrics := func(s string) func(*config.Config) { return func(c *config.Config) { c.MetricsListen = s } }
	database := func(s string) func(*config.Config) { return func(c *config.Config) { c.DatabaseURL = s } }
	proxies := func(s ...string) func(*config.Config) { return func(c *config.Config) { c.TrustedProxies = s } }
	ttl := func(d time.Duration) func(*config.Config) { return func(c *config.Config) { c.TokenTTL = d } }
	for _, tt := range []struct {
		name   string
		change func(*config.Config)
		want   string // the whole error
	}{
		{"a public URL with a slash", public("https://idp.example.com/"), `public-url (AGENTIDP_PUBLIC_URL): "https://idp.example.com/" ` + noURL},
		{"a public URL with a path", public("https://idp.example.com/idp"), `public-url (AGENTIDP_PUBLIC_URL): "https://idp.example.com/idp" ` + noURL},
		{"a public URL with a query", public("https://idp.example.com?x=1"), `public-url (AGENTIDP_PUBLIC_URL): "https://idp.example.com?x=1" ` + noURL},
		{"a public URL with a bare question mark", public("https://idp.example.com?"), `public-url (AGENTIDP_PUBLIC_URL): "https://idp.example.com?" ` + noURL},
		{"a public URL with a fragment", public("https://idp.example.com#x"), `public-url (AGENTIDP_PUBLIC_URL): "https://idp.example.com#x" ` + noURL},
		{"a public URL with a user", public("https://me@idp.example.com"), `public-url (AGENTIDP_PUBLIC_URL): "https://me@idp.example.com" ` + noURL},
		{"a public URL in upper case", public("https://IDP.example.com"), `public-url (AGENTIDP_PUBLIC_URL): "https://IDP.example.com" ` + noURL},
		{"a public URL without a scheme", public("idp.example.com"), `public-url (AGENTIDP_PUBLIC_URL): "idp.example.com" ` + noURL},
		{"a public URL without a host", public("https://:8443"), `public-url (AGENTIDP_PUBLIC_URL): "https://:8443" ` + noURL},
		{"a public URL with a colon and no port", public("https://idp.example.com:"), `public-url (AGENTIDP_PUBLIC_URL): "https://idp.example.com:" ` + noURL},
		{"a public URL with a port that there is not", public("https://idp.example.com:99999"), `public-url (AGENTIDP_PUBLIC_URL): "https://idp.example.com:99999" ` + noURL},
		{"a public URL with a space", public("https://idp.example.com "), `public-url (AGENTIDP_PUBLIC_URL): "https://idp.example.com " ` + noURL},
		{"a public URL with port 0", public("https://idp.example.com:0"), `public-url (AGENTIDP_PUBLIC_URL): "https://idp.example.com:0" ` + noURL},
		{"a public URL with a port written in another way", public("https://idp.example.com:08443"), `public-url (AGENTIDP_PUBLIC_URL): "https://idp.example.com:08443" ` + noURL},
		{"a star for a host", public("https://*"), `public-url (AGENTIDP_PUBLIC_URL): the host of "https://*" ` + noHost},
		{"a wildcard for a host", public("https://*.example.com"), `public-url (AGENTIDP_PUBLIC_URL): the host of "https://*.example.com" ` + noHost},
		{"a name that ends in a dot", public("https://idp.example.com."), `public-url (AGENTIDP_PUBLIC_URL): the host of "https://idp.example.com." ` + noHost},
		{"a name with an empty label", public("https://idp..example"), `public-url (AGENTIDP_PUBLIC_URL): the host of "https://idp..example" ` + noHost},
		{"a name that is not ASCII", public("https://bücher.example"), `public-url (AGENTIDP_PUBLIC_URL): the host of "https://bücher.example" ` + noHost},
		{"a name with an underscore", public("https://my_idp.example.com"), `public-url (AGENTIDP_PUBLIC_URL): the host of "https://my_idp.example.com" ` + noHost},
		{"a label that ends in a hyphen", public("https://idp-.example.com"), `public-url (AGENTIDP_PUBLIC_URL): the host of "https://idp-.example.com" ` + noHost},
		{"a label of 64 letters", public("https://aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.example"), `public-url (AGENTIDP_PUBLIC_URL): the host of "https://aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.example" ` + noHost},
		{"a number that clients take for an address", public("https://2130706433"), `public-url (AGENTIDP_PUBLIC_URL): the host of "https://2130706433" ` + noHost},
		{"a name that ends in a number", public("https://idp.1"), `public-url (AGENTIDP_PUBLIC_URL): the host of "https://idp.1" ` + noHost},
		{"a name that ends in a hexadecimal number", public("https://127.0.0.0x1"), `public-url (AGENTIDP_PUBLIC_URL): the host of "https://127.0.0.0x1" ` + noHost},
		{"an IPv6 address in another form", public("https://[2001:db8:0:0::1]"), `public-url (AGENTIDP_PUBLIC_URL): the host of "https://[2001:db8:0:0::1]" ` + noHost},
		{"an IPv6 address with a zone", public("https://[fe80::1%25eth0]"), `public-url (AGENTIDP_PUBLIC_URL): "https://[fe80::1%25eth0]" ` + noURL},
		{"a name in brackets", public("https://[idp]"), `public-url (AGENTIDP_PUBLIC_URL): "https://[idp]" ` + noURL},
		{"the default port of https", public("https://idp.example.com:443"), `public-url (AGENTIDP_PUBLIC_URL): "https://idp.example.com:443" ` + usual + "https://idp.example.com"},
		{"the default port of http", public("http://[::1]:80"), `public-url (AGENTIDP_PUBLIC_URL): "http://[::1]:80" ` + usual + "http://[::1]"},
		{"a public URL of another scheme", public("ftp://idp.example.com"), `public-url (AGENTIDP_PUBLIC_URL): "ftp://idp.example.com" is neither https nor http`},
		{"plain http that is not on loopback", public("http://idp.example.com"), `public-url (AGENTIDP_PUBLIC_URL): "http://idp.example.com" uses plain http, which is for loopback only; use https`},
		{"plain http on a name that begins like loopback", public("http://localhost.example.com"), `public-url (AGENTIDP_PUBLIC_URL): "http://localhost.example.com" uses plain http, which is for loopback only; use https`},
		{"plain http on a private address", public("http://10.0.0.1"), `public-url (AGENTIDP_PUBLIC_URL): "http://10.0.0.1" uses plain http, which is for loopback only; use https`},
		{"an issuer with a slash", issuer("https://ci.example/"), `github-issuer (AGENTIDP_GITHUB_ISSUER): "https://ci.example/" ` + noIssuer},
		{"an issuer with a query", issuer("https://ci.example?x=1"), `github-issuer (AGENTIDP_GITHUB_ISSUER): "https://ci.example?x=1" ` + noIssuer},
		{"an issuer with a bare question mark", issuer("https://ci.example?"), `github-issuer (AGENTIDP_GITHUB_ISSUER): "https://ci.example?" ` + noIssuer},
		{"an issuer with a bare fragment", issuer("https://ci.example#"), `github-issuer (AGENTIDP_GITHUB_ISSUER): "https://ci.example#" ` + noIssuer},
		{"an issuer with a slash and a bare fragment", issuer("https://ci.example/#"), `github-issuer (AGENTIDP_GITHUB_ISSUER): "https://ci.example/#" ` + noIssuer},
		{"an issuer that is the server itself", func(c *config.Config) {
			c.PublicURL, c.GitHubIssuer = "https://idp.example.com", "https://idp.example.com"
		}, `github-issuer (AGENTIDP_GITHUB_ISSUER): "https://idp.example.com" ` + itself},
		{"an issuer that is one of the server's organizations", func(c *config.Config) {
			c.PublicURL, c.GitHubIssuer = "https://idp.example.com", "https://idp.example.com/o/acme"
		}, `github-issuer (AGENTIDP_GITHUB_ISSUER): "https://idp.example.com/o/acme" ` + itself},
		{"an issuer that is the server itself, under its default URL", func(c *config.Config) { c.GitHubIssuer, c.Dev = "http://localhost:8080", true }, `github-issuer (AGENTIDP_GITHUB_ISSUER): "http://localhost:8080" ` + itself},
		{"an issuer with a user", issuer("https://me@ci.example"), `github-issuer (AGENTIDP_GITHUB_ISSUER): "https://me@ci.example" ` + noIssuer},
		{"an issuer without a host", issuer("https:///token"), `github-issuer (AGENTIDP_GITHUB_ISSUER): "https:///token" ` + noIssuer},
		{"an issuer that is no URL", issuer("github"), `github-issuer (AGENTIDP_GITHUB_ISSUER): "github" ` + noIssuer},
		{"no issuer", issuer(""), `github-issuer (AGENTIDP_GITHUB_ISSUER): "" ` + noIssuer},
		{"a plain-http issuer", issuer("http://ci.example"), `github-issuer (AGENTIDP_GITHUB_ISSUER): "http://ci.example" must use https`},
		{"a plain-http issuer on loopback, not in development", issuer("http://127.0.0.1:9999"), `github-issuer (AGENTIDP_GITHUB_ISSUER): "http://127.0.0.1:9999" uses plain http; for a local issuer start with --dev (AGENTIDP_DEV=true)`},
		{"a plain-http issuer elsewhere, in development", func(c *config.Config) { c.GitHubIssuer, c.Dev = "http://ci.example", true }, `github-issuer (AGENTIDP_GITHUB_ISSUER): "http://ci.example" must use https`},
		{"a plain-http issuer, another port of which is listed", func(c *config.Config) {
			c.GitHubIssuer, c.IssuerHosts = "http://ci.internal:8080", []string{"ci.internal:8443", "internal", "ci.internal.example"}
		}, `github-issuer (AGENTIDP_GITHUB_ISSUER): "http://ci.internal:8080" must use https`},
		{"a host with a scheme", hosts("https://ci.internal"), `issuer-hosts (AGENTIDP_ISSUER_HOSTS): "https://ci.internal" ` + noEntry},
		{"a host with a path", hosts("ci.internal/keys"), `issuer-hosts (AGENTIDP_ISSUER_HOSTS): "ci.internal/keys" ` + noEntry},
		{"a host in upper case", hosts("CI.internal"), `issuer-hosts (AGENTIDP_ISSUER_HOSTS): "CI.internal" ` + noEntry},
		{"a host with a wildcard", hosts("*.internal"), `issuer-hosts (AGENTIDP_ISSUER_HOSTS): "*.internal" ` + noEntry},
		{"a host with a dot in front", hosts(".internal"), `issuer-hosts (AGENTIDP_ISSUER_HOSTS): ".internal" ` + noEntry},
		{"a host with a dot behind", hosts("ci.internal."), `issuer-hosts (AGENTIDP_ISSUER_HOSTS): "ci.internal." ` + noEntry},
		{"a network", hosts("10.0.0.0/8"), `issuer-hosts (AGENTIDP_ISSUER_HOSTS): "10.0.0.0/8" ` + noEntry},
		{"a host that is a number", hosts("2130706433"), `issuer-hosts (AGENTIDP_ISSUER_HOSTS): "2130706433" ` + noEntry},
		{"an IPv6 address without brackets", hosts("fd00::5"), `issuer-hosts (AGENTIDP_ISSUER_HOSTS): "fd00::5" ` + noEntry},
		{"an IPv6 address in another form", hosts("[fd00:0::5]"), `issuer-hosts (AGENTIDP_ISSUER_HOSTS): "[fd00:0::5]" ` + noEntry},
		{"a name in brackets, as an issuer's host", hosts("[ci]"), `issuer-hosts (AGENTIDP_ISSUER_HOSTS): "[ci]" ` + noEntry},
		{"a host with an empty port", hosts("ci.internal:"), `issuer-hosts (AGENTIDP_ISSUER_HOSTS): "ci.internal:" ` + noEntry},
		{"a host with port 0", hosts("ci.internal:0"), `issuer-hosts (AGENTIDP_ISSUER_HOSTS): "ci.internal:0" ` + noEntry},
		{"a host with a port that there is not", hosts("ci.internal:65536"), `issuer-hosts (AGENTIDP_ISSUER_HOSTS): "ci.internal:65536" ` + noEntry},
		{"a host with a space", hosts(" ci.internal"), `issuer-hosts (AGENTIDP_ISSUER_HOSTS): " ci.internal" ` + noEntry},
		{"an empty host", hosts("ci.internal", ""), `issuer-hosts (AGENTIDP_ISSUER_HOSTS): "" ` + noEntry},
		{"an address without a port", listen("127.0.0.1"), `listen (AGENTIDP_LISTEN): "127.0.0.1" ` + noListen},
		{"a port alone", listen("8080"), `listen (AGENTIDP_LISTEN): "8080" ` + noListen},
		{"a port that is a word", listen("127.0.0.1:http"), `listen (AGENTIDP_LISTEN): "127.0.0.1:http" ` + noListen},
		{"a port that there is not", listen("127.0.0.1:65536"), `listen (AGENTIDP_LISTEN): "127.0.0.1:65536" ` + noListen},
		{"no address", listen(""), `listen (AGENTIDP_LISTEN): "" ` + noListen},
		{"all addresses without a public URL", listen(":8080"), `public-url (AGENTIDP_PUBLIC_URL): needed with listen ":8080", which is not on loopback; give the URL under which clients reach this server, such as https://idp.example.com`},
		{"a name without a public URL", listen("idp.internal:8080"), `public-url (AGENTIDP_PUBLIC_URL): needed with listen "idp.internal:8080", which is not on loopback; give the URL under which clients reach this server, such as https://idp.example.com`},
		{"development on all addresses", func(c *config.Config) { c.Listen, c.Dev = ":8080", true }, `dev (AGENTIDP_DEV): refused with listen ":8080", which is not on loopback; development trusts plain-http issuers`},
		{"development on a public address", func(c *config.Config) { c.Listen, c.Dev = "192.0.2.1:8080", true }, `dev (AGENTIDP_DEV): refused with listen "192.0.2.1:8080", which is not on loopback; development trusts plain-http issuers`},
		{"development under a public URL", func(c *config.Config) { c.PublicURL, c.Dev = "https://idp.example.com", true }, `dev (AGENTIDP_DEV): refused with public URL "https://idp.example.com", which is not on loopback`},
		{"an algorithm that there is not", func(c *config.Config) { c.SigningAlg = "HS256" }, `signing-alg (AGENTIDP_SIGNING_ALG): "HS256" ` + noAlg},
		{"an algorithm in another case", func(c *config.Config) { c.SigningAlg = "es256" }, `signing-alg (AGENTIDP_SIGNING_ALG): "es256" ` + noAlg},
		{"keys that are rotated every hour", func(c *config.Config) { c.KeyRotation = time.Hour }, `key-rotation (AGENTIDP_KEY_ROTATION): 1h0m0s is not between 1d and 36500d; 0 means never`},
		{"decisions that are kept for minutes", func(c *config.Config) { c.KeepDecisions = 90 * time.Minute }, `keep-decisions (AGENTIDP_KEEP_DECISIONS): 1h30m0s is not between 1d and 36500d; 0 means for ever`},
		{"events that are kept for less than nothing", func(c *config.Config) { c.KeepEvents = -24 * time.Hour }, `keep-events (AGENTIDP_KEEP_EVENTS): -24h0m0s is not between 1d and 36500d; 0 means for ever`},
		{"events that are kept for longer than there are dates", func(c *config.Config) { c.KeepEvents = 200 * 365 * 24 * time.Hour }, `keep-events (AGENTIDP_KEEP_EVENTS): 1752000h0m0s is not between 1d and 36500d; 0 means for ever`},
		{"claims that are kept for minutes", func(c *config.Config) { c.KeepClaims = time.Minute }, `keep-claims (AGENTIDP_KEEP_CLAIMS): 1m0s is not between 1d and 36500d; 0 means that none are kept`},
		{"a claim without a provider", record("actor"), `record-claims (AGENTIDP_RECORD_CLAIMS): "actor" ` + noClaim},
		{"a provider without a claim", record("github:"), `record-claims (AGENTIDP_RECORD_CLAIMS): "github:" ` + noClaim},
		{"a claim of nobody", record(":actor"), `record-claims (AGENTIDP_RECORD_CLAIMS): ":actor" ` + noClaim},
		{"a claim that cannot be printed", record("cluster:a\x01"), `record-claims (AGENTIDP_RECORD_CLAIMS): "cluster:a\x01" ` + noClaim},
		{"a claim with a typing error", record("github:actr"), `record-claims (AGENTIDP_RECORD_CLAIMS): "github:actr" is none of the claims of github; did you mean actor?`},
		{"a claim that GitHub does not send", record("github:groups_and_more"), `record-claims (AGENTIDP_RECORD_CLAIMS): "github:groups_and_more" is none of the claims of github; write it as its tokens spell it`},
		{"a claim that is another in every token", record("cluster:jti"), `record-claims (AGENTIDP_RECORD_CLAIMS): "cluster:jti" is never kept: no policy can read it; leave it out`},
		{"a claim twice", record("cluster:a", "cluster:a"), `record-claims (AGENTIDP_RECORD_CLAIMS): "cluster:a" stands there twice`},
		{"claims, none of which are kept", func(c *config.Config) { c.KeepClaims, c.RecordClaims = 0, []string{"cluster:a"} }, `record-claims (AGENTIDP_RECORD_CLAIMS): keep-claims (AGENTIDP_KEEP_CLAIMS) is 0, so none are kept; leave one of them out`},
		{"a negative drain", func(c *config.Config) { c.Drain = -time.Second }, `drain (AGENTIDP_DRAIN): -1s is not between 0s and 1m`},
		{"a drain that outlasts patience", func(c *config.Config) { c.Drain = 61 * time.Second }, `drain (AGENTIDP_DRAIN): 1m1s is not between 0s and 1m`},
		{"a log format that there is not", func(c *config.Config) { c.LogFormat = "xml" }, `log-format (AGENTIDP_LOG_FORMAT): "xml" is none of auto, text, json`},
		{"a log level that there is not", func(c *config.Config) { c.LogLevel = "verbose" }, `log-level (AGENTIDP_LOG_LEVEL): "verbose" is none of debug, info, warn, error`},
		{"metrics without a port", metrics("127.0.0.1"), `metrics-listen (AGENTIDP_METRICS_LISTEN): "127.0.0.1" ` + noMetrics},
		{"metrics on a port alone", metrics("9090"), `metrics-listen (AGENTIDP_METRICS_LISTEN): "9090" ` + noMetrics},
		{"metrics off in capitals", metrics("OFF"), `metrics-listen (AGENTIDP_METRICS_LISTEN): "OFF" ` + noMetrics},
		{"metrics where clients come", metrics("127.0.0.1:8080"), `metrics-listen (AGENTIDP_METRICS_LISTEN): "127.0.0.1:8080" is the address that clients use; give it another, or off`},
		{"profiles with metrics off", func(c *config.Config) { c.MetricsListen, c.Pprof = "off", true }, `pprof (AGENTIDP_PPROF): profiles are served by the metrics listener, which is off; give metrics-listen (AGENTIDP_METRICS_LISTEN) an address on loopback`},
		{"profiles for everybody", func(c *config.Config) { c.MetricsListen, c.Pprof = ":9090", true }, `pprof (AGENTIDP_PPROF): refused with metrics-listen ":9090", which is not on loopback; profiles tell of the inside of the process, and whoever takes one slows it down`},
		{"profiles on a private address", func(c *config.Config) { c.MetricsListen, c.Pprof = "10.0.0.1:9090", true }, `pprof (AGENTIDP_PPROF): refused with metrics-listen "10.0.0.1:9090", which is not on loopback; profiles tell of the inside of the process, and whoever takes one slows it down`},
		{"no life", ttl(0), `token-ttl (AGENTIDP_TOKEN_TTL): 0s ` + noTTL},
		{"a negative life", ttl(-time.Minute), `token-ttl (AGENTIDP_TOKEN_TTL): -1m0s ` + noTTL},
		{"a life of 59 s", ttl(59 * time.Second), `token-ttl (AGENTIDP_TOKEN_TTL): 59s ` + noTTL},
		{"a life of an hour and a second", ttl(time.Hour + time.Second), `token-ttl (AGENTIDP_TOKEN_TTL): 1h0m1s ` + noTTL},
		{"a life with half a second", ttl(90*time.Second + 500*time.Millisecond), `token-ttl (AGENTIDP_TOKEN_TTL): 1m30.5s ` + noTTL},
		{"no refusal", func(c *config.Config) { c.RefusalsPerMinute = 0 }, "refusals-per-minute (AGENTIDP_REFUSALS_PER_MINUTE): 0 is not between 1 and 1000000"},
		{"more refusals than there can be", func(c *config.Config) { c.RefusalsPerMinute = 1_000_001 }, "refusals-per-minute (AGENTIDP_REFUSALS_PER_MINUTE): 1000001 is not between 1 and 1000000"},
		{"a negative limit", func(c *config.Config) { c.AddressFailuresPerMinute = -1 }, "address-failures-per-minute (AGENTIDP_ADDRESS_FAILURES_PER_MINUTE): -1 is not between 0 and 10000000"},
		{"a limit beyond all reason", func(c *config.Config) { c.MaxConnections = 10_000_001 }, "max-connections (AGENTIDP_MAX_CONNECTIONS): 10000001 is not between 0 and 10000000"},
		{"a proxy by its name", proxies("proxy.internal"), `trusted-proxies (AGENTIDP_TRUSTED_PROXIES): "proxy.internal" ` + noProxy},
		{"a proxy with a port", proxies("10.0.0.1:8080"), `trusted-proxies (AGENTIDP_TRUSTED_PROXIES): "10.0.0.1:8080" ` + noProxy},
		{"a proxy with a zone", proxies("fe80::1%eth0"), `trusted-proxies (AGENTIDP_TRUSTED_PROXIES): "fe80::1%eth0" ` + noProxy},
		{"no proxy", proxies(""), `trusted-proxies (AGENTIDP_TRUSTED_PROXIES): "" ` + noProxy},
		{"a network that is narrower than it says", proxies("10.0.0.1/8"), `trusted-proxies (AGENTIDP_TRUSTED_PROXIES): "10.0.0.1/8" has an address beyond its length; write 10.0.0.0/8`},
		{"a network of IPv4 as IPv6", proxies("::ffff:10.0.0.0/104"), `trusted-proxies (AGENTIDP_TRUSTED_PROXIES): "::ffff:10.0.0.0/104" is IPv4 written as IPv6; write it as IPv4, such as 10.0.0.0/8`},
		{"another database", database("mysql://u:secret@db/x"), "database-url (AGENTIDP_DATABASE_URL): must be sqlite:PATH or postgres://user@host/database"},
		{"SQLite without a path", database("sqlite:"), "database-url (AGENTIDP_DATABASE_URL): must be sqlite:PATH or postgres://user@host/database"},
		{"a path alone", database("/var/lib/agentidp.db"), "database-url (AGENTIDP_DATABASE_URL): must be sqlite:PATH or postgres://user@host/database"},
	} {
		c := good()
		tt.change(&c)
		if err := c.Complete(); err == nil || err.Error() != tt.want {
			t.Errorf("%s:\n%v\nwant\n%s", tt.name, err, tt.want)
		}
	}
}

func record(claims ...string) func(*config.Config) {
	return func(c *config.Config) { c.RecordClaims = claims }
}

func TestRecordedClaimsAreThoseOfTheirProvider(t *testing.T) {
	t.Parallel()
	c := good()
	record("github:actor", " cluster:cognito:groups ", "github:sub", "cluster:b")(&c)
	got, err := c.Recorded()
	want := map[string][]string{"github": {"actor", "sub"}, "cluster": {"cognito:groups", "b"}}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%v, %v; want %v", got, err, want)
	}
}

func TestAllProblemsAreToldAtOnce(t *testing.T) {
	t.Parallel()
	c := config.Config{
		Storage: config.Storage{DatabaseURL: "oracle"}, Listen: "x", PublicURL: "http://idp.example.com/", GitHubIssuer: "github", SigningAlg: "none", TokenTTL: 7 * time.Hour, Limits: config.Limits{RefusalsPerMinute: -1}, LogFormat: "xml", Dev: true,
	}
	err := c.Complete()
	if err == nil {
		t.Fatal("accepted")
	}
	lines := strings.Split(err.Error(), "\n")
	for _, setting := range []string{"DATABASE_URL", "LISTEN", "PUBLIC_URL", "GITHUB_ISSUER", "SIGNING_ALG", "TOKEN_TTL", "REFUSALS_PER_MINUTE", "LOG_FORMAT", "DEV"} {
		n := 0
		for _, line := range lines {
			if strings.Contains(line, "(AGENTIDP_"+setting+")") {
				n++
			}
		}
		if n != 1 {
			t.Errorf("AGENTIDP_%s is named in %d lines of\n%v", setting, n, err)
		}
	}
}

func TestLoopback(t *testing.T) {
	t.Parallel()
	for host, want := range map[string]bool{
		"localhost": true, "127.0.0.1": true, "127.8.8.8": true, "::1": true, "": false, "0.0.0.0": false, "::": false, "10.0.0.1": false,
		"localhost.": false, "LOCALHOST": false, "127.0.0.1.example": false, "2130706433": false, "0x7f.1": false, "localhost.example": false,
	} {
		if got := config.IsLoopback(host); got != want {
			t.Errorf("%q: %v", host, got)
		}
	}
}
