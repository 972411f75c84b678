// Package config is the manual of the program's settings: every field is a flag
// and an AGENTIDP_ environment variable, with its default and meaning beside it.
//
// It owns what a setting may be and says all that is wrong at once. It does not
// own how flags are parsed (internal/cli), nor what a setting does.
package config

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Config is all that a server needs to know.
type Config struct {
	Storage `embed:""`

	Listen       string        `env:"AGENTIDP_LISTEN" default:"127.0.0.1:8080" help:"Address to listen on."`
	PublicURL    string        `env:"AGENTIDP_PUBLIC_URL" placeholder:"URL" help:"Scheme, host and port under which clients reach this server; it is the issuer, and the audience of subject tokens (default: http://localhost with the port listened on)."`
	GitHubIssuer string        `name:"github-issuer" env:"AGENTIDP_GITHUB_ISSUER" default:"https://token.actions.githubusercontent.com" placeholder:"URL" help:"Issuer of the built-in provider github, exactly as in the tokens' iss."`
	SigningAlg   string        `env:"AGENTIDP_SIGNING_ALG" default:"ES256" enum:"ES256,RS256,EdDSA" help:"Algorithm of access tokens: ES256, RS256 or EdDSA."`
	TokenTTL     time.Duration `env:"AGENTIDP_TOKEN_TTL" default:"15m" help:"Life of an agent's access token where its policy says nothing (1m to 1h)."`
	LogFormat    string        `env:"AGENTIDP_LOG_FORMAT" enum:"auto,text,json" default:"auto" help:"Log format: text, json, or auto (text on a terminal, else json)."`
	Dev          bool          `env:"AGENTIDP_DEV" help:"Development: allow a plain-http issuer on loopback. Refused with a listener or public URL that is not on loopback."`
}

// Storage says where data and the master key are.
type Storage struct {
	DataDir       string `env:"AGENTIDP_DATA_DIR" default:"./data" type:"path" help:"Folder of the database and the master key."`
	DatabaseURL   string `env:"AGENTIDP_DATABASE_URL" placeholder:"URL" help:"sqlite:PATH or postgres://… (default: SQLite in the data directory)."`
	MasterKeyFile string `env:"AGENTIDP_MASTER_KEY_FILE" type:"path" placeholder:"FILE" help:"File with the master key: 32 bytes in base64 (default: master.key in the data directory)."`

	// MasterKey comes from AGENTIDP_MASTER_KEY alone: a flag would show it in the
	// process list.
	MasterKey string `kong:"-"`
}

// SigningAlgorithms are the values that SigningAlg takes.
var SigningAlgorithms = []string{"ES256", "RS256", "EdDSA"}

// Complete fills what depends on other settings and then checks everything. The
// error names every setting that is wrong, one a line.
func (c *Config) Complete() error {
	c.Storage.Complete()
	if c.PublicURL == "" {
		c.PublicURL = "http://localhost:8080"
		if _, port, err := net.SplitHostPort(c.Listen); err == nil && port != "0" {
			c.PublicURL = "http://localhost:" + port
		}
	}
	errs := []error{CheckPublicURL(c.PublicURL), checkIssuer(c.GitHubIssuer, c.Dev)}
	if !slices.Contains(SigningAlgorithms, c.SigningAlg) {
		errs = append(errs, fmt.Errorf("signing-alg (AGENTIDP_SIGNING_ALG): %q is none of %s", c.SigningAlg, strings.Join(SigningAlgorithms, ", ")))
	}
	if c.TokenTTL < time.Minute || c.TokenTTL > time.Hour || c.TokenTTL%time.Second != 0 {
		errs = append(errs, fmt.Errorf("token-ttl (AGENTIDP_TOKEN_TTL): %s is not between 1m and 1h in whole seconds", c.TokenTTL))
	}
	host, _, err := net.SplitHostPort(c.Listen)
	switch {
	case err != nil:
		errs = append(errs, fmt.Errorf("listen (AGENTIDP_LISTEN): %q is not host:port, for example 127.0.0.1:8080", c.Listen))
	case c.Dev && !IsLoopback(host):
		errs = append(errs, fmt.Errorf("dev (AGENTIDP_DEV): refused with listen %q, which is not on loopback; development trusts plain-http issuers", c.Listen))
	}
	if u, err := url.Parse(c.PublicURL); c.Dev && err == nil && !IsLoopback(u.Hostname()) {
		errs = append(errs, fmt.Errorf("dev (AGENTIDP_DEV): refused with public URL %q, which is not on loopback", c.PublicURL))
	}
	return errors.Join(errs...)
}

// Complete fills what depends on other settings of storage.
func (s *Storage) Complete() {
	if s.DataDir == "" {
		s.DataDir = "./data"
	}
	if s.DatabaseURL == "" {
		s.DatabaseURL = "sqlite:" + filepath.Join(s.DataDir, "agentidp.db")
	}
	if s.MasterKeyFile == "" {
		s.MasterKeyFile = filepath.Join(s.DataDir, "master.key")
	}
}

// SQLite reports whether the database is embedded.
func (s *Storage) SQLite() bool { return strings.HasPrefix(s.DatabaseURL, "sqlite:") }

// Kind names the database without what may be secret in its URL.
func (s *Storage) Kind() string {
	if s.SQLite() {
		return s.DatabaseURL
	}
	return "postgres"
}

// CheckPublicURL refuses what is not exactly scheme, host and port: clients compare
// an issuer byte for byte.
func CheckPublicURL(s string) error {
	const name = "public-url (AGENTIDP_PUBLIC_URL)"
	u, err := url.Parse(s)
	switch {
	case err != nil || u.Host == "" || u.Scheme+"://"+u.Host != s || strings.ToLower(s) != s:
		return fmt.Errorf("%s: %q is not just scheme, host and port in lower case, such as https://idp.example.com; leave out path, query and trailing slash", name, s)
	case u.Scheme != "https" && u.Scheme != "http":
		return fmt.Errorf("%s: %q is neither https nor http", name, s)
	case u.Scheme == "http" && !IsLoopback(u.Hostname()):
		return fmt.Errorf("%s: %q uses plain http, which is for loopback only; use https", name, s)
	}
	return nil
}

func checkIssuer(s string, dev bool) error {
	const name = "github-issuer (AGENTIDP_GITHUB_ISSUER)"
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || strings.HasSuffix(s, "/") {
		return fmt.Errorf("%s: %q is not an issuer URL such as https://token.actions.githubusercontent.com; it has no trailing slash, query or user", name, s)
	}
	switch {
	case u.Scheme == "https":
		return nil
	case u.Scheme == "http" && IsLoopback(u.Hostname()) && dev:
		return nil
	case u.Scheme == "http" && IsLoopback(u.Hostname()):
		return fmt.Errorf("%s: %q uses plain http; for a local issuer start with --dev (AGENTIDP_DEV=true)", name, s)
	}
	return fmt.Errorf("%s: %q must use https", name, s)
}

// IsLoopback reports whether a host name or address can only be this machine.
func IsLoopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}
