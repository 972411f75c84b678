// Package config is the manual of the program's settings: every field is a flag
// and an AGENTIDP_ environment variable, with its default and meaning beside it.
//
// It owns what a setting may be and says all that is wrong at once. It does not
// own how flags are parsed (internal/cli), nor what a setting does.
package config

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Config is all that a server needs to know.
type Config struct {
	Storage `embed:""`

	Listen            string        `env:"AGENTIDP_LISTEN" default:"127.0.0.1:8080" help:"Address to listen on."`
	PublicURL         string        `env:"AGENTIDP_PUBLIC_URL" placeholder:"URL" help:"Scheme, host and port under which clients reach this server; it is the issuer, and the audience of subject tokens (default, for a listener on loopback: http://localhost with its port)."`
	GitHubIssuer      string        `name:"github-issuer" env:"AGENTIDP_GITHUB_ISSUER" default:"https://token.actions.githubusercontent.com" placeholder:"URL" help:"Issuer of the built-in provider github, exactly as in the tokens' iss."`
	IssuerHosts       []string      `env:"AGENTIDP_ISSUER_HOSTS" placeholder:"HOST[:PORT]" help:"Hosts of issuers, separated by commas, that may have private addresses, ports other than 443 and plain http: a host stands for all its ports, host:port for one. Keys and discovery documents are fetched from no other host that is not public; link-local addresses, where clouds have their metadata, are never asked. The host of github-issuer need not be listed, unless it is plain http."`
	SigningAlg        string        `env:"AGENTIDP_SIGNING_ALG" default:"ES256" help:"Algorithm of access tokens: ES256, RS256 or EdDSA."`
	TokenTTL          time.Duration `env:"AGENTIDP_TOKEN_TTL" default:"15m" help:"Life of an agent's access token where its policy says nothing (1m to 1h)."`
	RefusalsPerMinute int           `env:"AGENTIDP_REFUSALS_PER_MINUTE" default:"60" help:"Refused exchanges of one repository that are recorded in a minute; beyond it they are answered 429."`
	Drain             time.Duration `env:"AGENTIDP_DRAIN" default:"1s" help:"How long the server serves on after it was told to end, while /readyz says 503, so that proxies and clients go elsewhere (0s to 1m)."`
	LogFormat         string        `env:"AGENTIDP_LOG_FORMAT" default:"auto" help:"Log format: text, json, or auto (text on a terminal, else json)."`
	Dev               bool          `env:"AGENTIDP_DEV" help:"Development: allow a plain-http issuer on loopback. Refused with a listener or public URL that is not on loopback."`
}

// Storage says where data and the master key are.
type Storage struct {
	DataDir       string `env:"AGENTIDP_DATA_DIR" default:"./data" type:"path" help:"Folder of the database and the master key."`
	DatabaseURL   string `env:"AGENTIDP_DATABASE_URL" placeholder:"URL" help:"sqlite:PATH or postgres://… (default: SQLite in the data directory). Give a URL with a password in it by the environment variable: flags are visible in the process list."`
	MasterKeyFile string `env:"AGENTIDP_MASTER_KEY_FILE" type:"path" placeholder:"FILE" help:"File with the master key: 32 bytes in base64 (default: master.key in the data directory). The key itself may be in $AGENTIDP_MASTER_KEY instead."`

	// MasterKey comes from AGENTIDP_MASTER_KEY alone: a flag would show it in the
	// process list.
	MasterKey string `kong:"-"`
}

const maxRefusals = 1_000_000

// SigningAlgorithms are the values that SigningAlg takes.
var SigningAlgorithms = []string{"ES256", "RS256", "EdDSA"}

var logFormats = []string{"auto", "text", "json"}

// Complete fills what depends on other settings and then checks everything. The
// error names every setting that is wrong, one a line.
func (c *Config) Complete() error {
	errs := []error{c.Storage.Complete(), c.completeURLs()}
	if c.LogFormat == "" {
		c.LogFormat = "auto"
	}
	if !slices.Contains(SigningAlgorithms, c.SigningAlg) {
		errs = append(errs, fmt.Errorf("signing-alg (AGENTIDP_SIGNING_ALG): %q is none of %s", c.SigningAlg, strings.Join(SigningAlgorithms, ", ")))
	}
	if !slices.Contains(logFormats, c.LogFormat) {
		errs = append(errs, fmt.Errorf("log-format (AGENTIDP_LOG_FORMAT): %q is none of %s", c.LogFormat, strings.Join(logFormats, ", ")))
	}
	if c.TokenTTL < time.Minute || c.TokenTTL > time.Hour || c.TokenTTL%time.Second != 0 {
		errs = append(errs, fmt.Errorf("token-ttl (AGENTIDP_TOKEN_TTL): %s is not between 1m and 1h in whole seconds", c.TokenTTL))
	}
	if c.RefusalsPerMinute < 1 || c.RefusalsPerMinute > maxRefusals {
		errs = append(errs, fmt.Errorf("refusals-per-minute (AGENTIDP_REFUSALS_PER_MINUTE): %d is not between 1 and %d", c.RefusalsPerMinute, maxRefusals))
	}
	if c.Drain < 0 || c.Drain > time.Minute {
		errs = append(errs, fmt.Errorf("drain (AGENTIDP_DRAIN): %s is not between 0s and 1m", c.Drain))
	}
	return errors.Join(errs...)
}

// Complete fills what depends on other settings of storage, and checks them.
func (s *Storage) Complete() error {
	if s.DataDir == "" {
		s.DataDir = "./data"
	}
	if s.DatabaseURL == "" {
		s.DatabaseURL = "sqlite:" + filepath.Join(s.DataDir, "agentidp.db")
	}
	if s.MasterKeyFile == "" {
		s.MasterKeyFile = filepath.Join(s.DataDir, "master.key")
	}
	switch path, sqlite := strings.CutPrefix(s.DatabaseURL, "sqlite:"); {
	case sqlite && path != "", strings.HasPrefix(s.DatabaseURL, "postgres://"), strings.HasPrefix(s.DatabaseURL, "postgresql://"):
		return nil
	}
	// It is not repeated: a password may be in it.
	return errors.New("database-url (AGENTIDP_DATABASE_URL): must be sqlite:PATH or postgres://user@host/database")
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
