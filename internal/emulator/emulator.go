package emulator

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/sentryagent/agentidp/internal/jose"
)

const algorithm = jose.RS256 // the one algorithm that GitHub signs with

// Config says who the emulator claims to be and which run it plays.
type Config struct {
	// Issuer is the URL under which Handler is reachable: the iss of every
	// token, without a trailing slash. It may have a path.
	Issuer string
	// Key is the RSA key that signs. Nil: a new one.
	Key crypto.Signer
	// Run is the workflow run that asks for tokens.
	Run Run
	// Clock is time.Now where it is nil.
	Clock func() time.Time
}

// Emulator is one issuer with one key and one workflow run. Its methods may be
// called concurrently.
type Emulator struct {
	issuer       string
	path         string // of the issuer, in front of every endpoint
	run          Run
	started      time.Time
	clock        func() time.Time
	signer       *jose.Signer
	jwks         []byte
	requestToken string
}

// New returns an emulator, or an error that names everything wrong with cfg.
func New(cfg Config) (*Emulator, error) {
	issuer, issuerErr := parseIssuer(cfg.Issuer)
	if err := errors.Join(issuerErr, cfg.Run.validate()); err != nil {
		return nil, err
	}
	signer, err := newSigner(cfg.Key)
	if err != nil {
		return nil, err
	}
	jwk, err := signer.Public().JWK()
	if err != nil {
		return nil, fmt.Errorf("publish the signing key: %w", err)
	}
	jwks, err := json.Marshal(map[string][]json.RawMessage{"keys": {jwk}})
	if err != nil {
		return nil, fmt.Errorf("publish the signing key: %w", err)
	}
	clock := cfg.Clock
	if clock == nil {
		clock = time.Now
	}
	e := &Emulator{
		issuer: cfg.Issuer, path: issuer.Path, run: cfg.Run.withDefaults(), started: clock(), clock: clock,
		signer: signer, jwks: jwks, requestToken: rand.Text(),
	}
	// A claim that cannot be sent is found now rather than by the first job.
	if _, err := e.Mint(Options{}); err != nil {
		return nil, err
	}
	return e, nil
}

func parseIssuer(s string) (*url.URL, error) {
	u, err := url.Parse(s)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https":
		return nil, fmt.Errorf("issuer: %q is not an absolute http or https URL", s)
	case u.User != nil || u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return nil, fmt.Errorf("issuer: %q has a user, query or fragment; an issuer is scheme, host and path", s)
	case strings.HasSuffix(s, "/"):
		return nil, fmt.Errorf("issuer: %q ends in a slash; leave it out, as GitHub does", s)
	}
	return u, nil
}

func newSigner(key crypto.Signer) (*jose.Signer, error) {
	if key == nil {
		var err error
		if key, err = jose.GenerateKey(algorithm); err != nil {
			return nil, fmt.Errorf("create a signing key: %w", err)
		}
	}
	if _, ok := key.Public().(*rsa.PublicKey); !ok {
		return nil, fmt.Errorf("signing key: it is %T; GitHub signs with RSA keys alone", key.Public())
	}
	signer, err := jose.NewSigner(algorithm, key)
	if err != nil {
		return nil, fmt.Errorf("use the signing key: %w", err)
	}
	return signer, nil
}

// RequestURL is the value of ACTIONS_ID_TOKEN_REQUEST_URL. The toolkit appends
// "&audience=…" to it, so it always has a query.
func (e *Emulator) RequestURL() string {
	return e.issuer + tokenPath + "?api-version=" + apiVersion
}

// RequestToken is the value of ACTIONS_ID_TOKEN_REQUEST_TOKEN: the secret that
// the token endpoint asks for. It is made anew for every emulator.
func (e *Emulator) RequestToken() string { return e.requestToken }

// Options say how one token differs from what the emulator's run would get.
type Options struct {
	// Audience is the one aud. Empty: GitHub's default, https://github.com/<owner>.
	Audience string
	// Run takes the place of the emulator's run where it is not nil.
	Run *Run
	// Claims are applied last, on top of Run.Claims and by the same rules.
	Claims map[string]any
}

// Mint signs an ID token that is issued now and lives for 300 seconds.
func (e *Emulator) Mint(opts Options) (string, error) {
	run := e.run
	if opts.Run != nil {
		if err := opts.Run.validate(); err != nil {
			return "", err
		}
		run = opts.Run.withDefaults()
	}
	claims, err := e.claims(&run, opts.Audience, opts.Claims)
	if err != nil {
		return "", err
	}
	payload, err := json.Marshal(claims)
	if err != nil {
		return "", fmt.Errorf("encode the claims: %w", err)
	}
	token, err := e.signer.Sign("JWT", payload)
	if err != nil {
		return "", fmt.Errorf("sign the ID token: %w", err)
	}
	return token, nil
}
