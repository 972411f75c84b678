// Package config is the manual of the program's settings: every field is a flag, an
// AGENTIDP_ environment variable and a key of the configuration file, with its
// default and meaning beside it.
//
// It owns what a setting may be, reads the file, and says all that is wrong at once.
// It does not own how flags are parsed and which source comes first (internal/cli),
// nor what a setting does.
package config

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Config is all that a server needs to know. The tags are the manual: help is a
// sentence or two for serve --help; doc, for docs/configuration.md, is what an operator
// has to know besides; example stands in docs/agentidp.example.yaml where there is no
// default. make config-docs writes both pages.
type Config struct {
	Storage `embed:""`

	Listen      string        `group:"Addresses" env:"AGENTIDP_LISTEN" default:"127.0.0.1:8080" help:"Address to listen on." doc:"Without tls-cert-file the listener speaks plain HTTP: off loopback, put a TLS proxy in front and let nobody else reach it."`
	PublicURL   string        `group:"Addresses" env:"AGENTIDP_PUBLIC_URL" example:"https://idp.example.com" placeholder:"URL" help:"Scheme, host and port under which clients reach this server; it is the issuer, and the audience of subject tokens (default, for a listener on loopback: localhost with its port)." doc:"Plain http is for loopback only, and not with tls-cert-file. Required when the listener is not on loopback. Changing it changes the issuer of every token."`
	TLSCertFile string        `group:"Addresses" name:"tls-cert-file" env:"AGENTIDP_TLS_CERT_FILE" example:"/etc/agentidp/tls.crt" type:"path" placeholder:"FILE" help:"Certificate with its chain, in PEM: the listener speaks TLS 1.2 and 1.3, HTTP/1.1 and HTTP/2." doc:"Needs tls-key-file. Both files are read again when they change: [certificates](operating.md#certificates)."`
	TLSKeyFile  string        `group:"Addresses" name:"tls-key-file" env:"AGENTIDP_TLS_KEY_FILE" example:"/etc/agentidp/tls.key" type:"path" placeholder:"FILE" help:"Private key of the certificate, in PEM. Others must not be able to read it." doc:"Mode 0600, or 0640 where root owns it."`
	Drain       time.Duration `group:"Addresses" env:"AGENTIDP_DRAIN" default:"1s" help:"How long the server serves on after it was told to end, while /readyz says 503, so that proxies and clients go elsewhere (0s to 1m)." doc:"Behind a load balancer, somewhat more than the time in which that notices: [health](operating.md#health)."`

	SecurityContact string `group:"Addresses" env:"AGENTIDP_SECURITY_CONTACT" example:"mailto:security@example.com" placeholder:"URI" help:"Who is to be told of a vulnerability of this installation, as one mailto:, https: or tel: URI: the server says so in /.well-known/security.txt (default: there is none)." doc:"[security.txt](operating.md#securitytxt)."`

	GitHubIssuer string   `group:"Issuers" name:"github-issuer" env:"AGENTIDP_GITHUB_ISSUER" default:"https://token.actions.githubusercontent.com" placeholder:"URL" help:"Issuer of the built-in provider github, exactly as in the tokens' iss."`
	IssuerHosts  []string `group:"Issuers" env:"AGENTIDP_ISSUER_HOSTS" example:"[ghes.example.com, ci.internal:8443]" placeholder:"HOST[:PORT]" help:"Hosts of issuers, separated by commas, that may have private addresses, ports other than 443 and plain http: a host stands for all its ports, host:port for one." doc:"Keys and discovery documents are fetched from no other host that is not public; link-local addresses, where clouds have their metadata, are never asked. The host of github-issuer need not be listed, unless it is plain http: [where keys are fetched from](operating.md#where-keys-are-fetched-from)."`

	SigningAlg string        `group:"Tokens" env:"AGENTIDP_SIGNING_ALG" default:"ES256" help:"Algorithm of access tokens: ES256, RS256 or EdDSA." doc:"What a change means for relying parties: [keys](operating.md#keys)."`
	TokenTTL   time.Duration `group:"Tokens" env:"AGENTIDP_TOKEN_TTL" default:"15m" help:"Life of an agent's access token where its policy says nothing (1m to 1h)."`

	KeyRotation   time.Duration `group:"Tokens" env:"AGENTIDP_KEY_ROTATION" default:"90d" help:"How long a signing key signs until the server gives it a successor by itself, which is published before it signs (1d or more; 0: never)." doc:"[Keys](operating.md#keys)."`
	KeepDecisions time.Duration `group:"Retention" env:"AGENTIDP_KEEP_DECISIONS" default:"90d" help:"How long refused exchanges can be looked up; granted ones as long as their event, if that is longer (1d or more; 0: for ever)." doc:"[Retention](operating.md#retention)."`
	KeepEvents    time.Duration `group:"Retention" env:"AGENTIDP_KEEP_EVENTS" default:"400d" help:"How long the audit log is kept (1d or more; 0: for ever)." doc:"[Retention](operating.md#retention)."`
	KeepClaims    time.Duration `group:"Retention" env:"AGENTIDP_KEEP_CLAIMS" default:"30d" help:"How long claims of subject tokens are kept with the decisions of policies about them, for back-tests (1d or more; 0: none are kept at all)." doc:"No longer than the decision. [What is kept of people](operating.md#what-is-kept-of-people)."`
	RecordClaims  []string      `group:"Retention" env:"AGENTIDP_RECORD_CLAIMS" example:"[gitlab:project_path, cluster:kubernetes.io]" placeholder:"PROVIDER:CLAIM" help:"Further claims that are kept, separated by commas: the provider's name, a colon, and the name that the claim has in its tokens." doc:"It counts for all organizations. What is kept without it: [back-tests](backtest.md#what-is-recorded). Keep no claim that is a secret, and none about a person without need."`

	Limits `embed:""`

	MetricsListen string `group:"Watching" env:"AGENTIDP_METRICS_LISTEN" default:"127.0.0.1:9090" help:"Address of the listener for Prometheus, which serves /metrics and nothing of the API; off: there is none." doc:"If it cannot be had, the server does not start. Whoever reaches it may read it: [what to watch](operating.md#what-to-watch)."`
	Pprof         bool   `group:"Watching" env:"AGENTIDP_PPROF" help:"Serve profiles of the running process under /debug/pprof/ of the metrics listener. They tell of its inside, and taking one slows it down, so this is refused where that listener is not on loopback."`

	LogLevel  string `group:"Logs and development" env:"AGENTIDP_LOG_LEVEL" default:"info" help:"The least that is logged: debug, info, warn or error. Requests are info, but for those that failed here (5xx), which are error." doc:"Answers to /healthz and /readyz are debug, and warn where they say that the server is not well. [Logs](operating.md#logs)."`
	LogFormat string `group:"Logs and development" env:"AGENTIDP_LOG_FORMAT" default:"auto" help:"Log format: text, json, or auto (text on a terminal, else json)."`
	Dev       bool   `group:"Logs and development" env:"AGENTIDP_DEV" help:"Development: allow a plain-http issuer on loopback. Refused with a listener or public URL that is not on loopback."`
}

// Storage says where data and the master key are.
type Storage struct {
	File string `group:"Storage" name:"config" env:"AGENTIDP_CONFIG" type:"path" placeholder:"FILE" help:"YAML file of settings; flags and the environment come before it."`

	DataDir       string `group:"Storage" env:"AGENTIDP_DATA_DIR" default:"./data" type:"path" help:"Folder of the database and the master key." doc:"Writable by its owner alone. A second server on it is refused."`
	DatabaseURL   string `group:"Storage" env:"AGENTIDP_DATABASE_URL" example:"postgres://agentidp@db.example.com/agentidp?sslmode=verify-full" placeholder:"URL" help:"sqlite:PATH or postgres://… (default: SQLite in the data directory). Give a URL with a password in it by the environment variable: flags are visible in the process list." doc:"PostgreSQL may be shared by [several servers](deploy.md#several-servers); [its URL](postgresql.md#the-url). A file that has a password in it must not be readable by others."`
	MasterKeyFile string `group:"Storage" env:"AGENTIDP_MASTER_KEY_FILE" example:"/etc/agentidp/master.key" type:"path" placeholder:"FILE" help:"File with the master key: 32 bytes in base64 (default: master.key in the data directory). The key itself may be in $AGENTIDP_MASTER_KEY instead." doc:"Required with PostgreSQL (openssl rand -base64 32); with SQLite the first start makes it. Mode 0600. [Keys](operating.md#keys)."`

	// MasterKey comes from AGENTIDP_MASTER_KEY alone: a flag would show it in the
	// process list.
	MasterKey string `kong:"-"`
}

const (
	day     = 24 * time.Hour
	longest = 36500 * day
)

// SigningAlgorithms are the values that SigningAlg takes.
var SigningAlgorithms = []string{"ES256", "RS256", "EdDSA"}

// Complete fills what depends on other settings and then checks everything. The
// error names every setting that is wrong, one a line.
func (c *Config) Complete() error {
	errs := []error{c.Storage.Complete(), c.completeURLs(), c.completeMetrics(), c.completeLog(), c.Limits.Complete(), c.checkRecorded()}
	if !slices.Contains(SigningAlgorithms, c.SigningAlg) {
		errs = append(errs, fmt.Errorf("signing-alg (AGENTIDP_SIGNING_ALG): %q is none of %s", c.SigningAlg, strings.Join(SigningAlgorithms, ", ")))
	}
	if c.TokenTTL < time.Minute || c.TokenTTL > time.Hour || c.TokenTTL%time.Second != 0 {
		errs = append(errs, fmt.Errorf("token-ttl (AGENTIDP_TOKEN_TTL): %s is not between 1m and 1h in whole seconds", c.TokenTTL))
	}
	if c.Drain < 0 || c.Drain > time.Minute {
		errs = append(errs, fmt.Errorf("drain (AGENTIDP_DRAIN): %s is not between 0s and 1m", c.Drain))
	}
	for _, s := range []struct {
		name, env, zero string
		value           time.Duration
	}{
		{"key-rotation", "AGENTIDP_KEY_ROTATION", "never", c.KeyRotation},
		{"keep-decisions", "AGENTIDP_KEEP_DECISIONS", "for ever", c.KeepDecisions},
		{"keep-events", "AGENTIDP_KEEP_EVENTS", "for ever", c.KeepEvents},
		{"keep-claims", "AGENTIDP_KEEP_CLAIMS", "that none are kept", c.KeepClaims},
	} {
		if s.value != 0 && (s.value < day || s.value > longest) {
			errs = append(errs, fmt.Errorf("%s (%s): %s is not between 1d and 36500d; 0 means %s", s.name, s.env, s.value, s.zero))
		}
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
	if path, embedded := s.SQLitePath(); s.PostgreSQL() || embedded && path != "" {
		return nil
	}
	// It is not repeated: a password may be in it.
	return errors.New("database-url (AGENTIDP_DATABASE_URL): must be sqlite:PATH or postgres://user@host/database")
}

// SQLite reports whether the database is embedded.
func (s *Storage) SQLite() bool {
	_, embedded := s.SQLitePath()
	return embedded
}

// SQLitePath returns the file of an embedded database.
func (s *Storage) SQLitePath() (path string, embedded bool) {
	return strings.CutPrefix(s.DatabaseURL, "sqlite:")
}

// PostgreSQL reports whether the database is a server's, which nodes may share.
func (s *Storage) PostgreSQL() bool {
	return strings.HasPrefix(s.DatabaseURL, "postgres://") || strings.HasPrefix(s.DatabaseURL, "postgresql://")
}

// Kind names the database without what may be secret in its URL.
func (s *Storage) Kind() string {
	if s.SQLite() {
		return s.DatabaseURL
	}
	return "postgres"
}
