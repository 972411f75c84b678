package verify_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/jose"
	"github.com/sentryagent/agentidp/internal/providers"
	"github.com/sentryagent/agentidp/internal/verify"
)

var start = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

// clock is a clock that a test moves.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// issuer is a CI system: a key set behind https that a test can change, and keys
// to sign with.
type issuer struct {
	*httptest.Server
	requests atomic.Int64
	answer   atomic.Pointer[http.HandlerFunc]
}

func newIssuer(t testing.TB, keys ...*key) *issuer {
	t.Helper()
	return newIssuerWith(t, nil, keys...)
}

// newIssuerWith is newIssuer with another certificate than that of httptest.
func newIssuerWith(t testing.TB, config *tls.Config, keys ...*key) *issuer {
	t.Helper()
	i := &issuer{}
	i.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		i.requests.Add(1)
		(*i.answer.Load())(w, r)
	}))
	i.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	i.TLS = config
	i.StartTLS()
	t.Cleanup(i.Close)
	i.publish(t, keys...)
	return i
}

// hostPort returns a server's entry in AGENTIDP_ISSUER_HOSTS.
func hostPort(s *httptest.Server) string { return s.Listener.Addr().String() }

func (i *issuer) publish(t testing.TB, keys ...*key) {
	i.answers(http.StatusOK, string(jwks(t, keys...)))
}

func (i *issuer) answers(status int, body string) {
	i.handle(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = w.Write([]byte(body))
	})
}

func (i *issuer) handle(h http.HandlerFunc) { i.answer.Store(&h) }

// key is a private key with an id.
type key struct {
	id, alg string
	private crypto.Signer
}

func newKey(t testing.TB, id, alg string) *key {
	t.Helper()
	private, err := jose.GenerateKey(alg)
	if err != nil {
		t.Fatal(err)
	}
	return &key{id, alg, private}
}

// jwks returns the key set that holds the public keys.
func jwks(t testing.TB, keys ...*key) []byte {
	t.Helper()
	list := []json.RawMessage{}
	for _, k := range keys {
		public, err := jose.NewKey(k.id, k.alg, k.private.Public())
		if err != nil {
			t.Fatal(err)
		}
		jwk, err := public.JWK()
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, jwk)
	}
	data, err := json.Marshal(map[string]any{"keys": list})
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// sign signs any header and payload.
func (k *key) sign(t testing.TB, header, payload string) string {
	t.Helper()
	b64 := base64.RawURLEncoding.EncodeToString
	input := b64([]byte(header)) + "." + b64([]byte(payload))
	sum := sha256.Sum256([]byte(input))
	var sig []byte
	var err error
	switch private := k.private.(type) {
	case *ecdsa.PrivateKey:
		r, s, e := ecdsa.Sign(rand.Reader, private, sum[:])
		sig, err = make([]byte, 64), e
		r.FillBytes(sig[:32])
		s.FillBytes(sig[32:])
	case *rsa.PrivateKey:
		sig, err = rsa.SignPKCS1v15(nil, private, crypto.SHA256, sum[:])
	default:
		sig, err = private.Sign(nil, []byte(input), crypto.Hash(0))
	}
	if err != nil {
		t.Fatal(err)
	}
	return input + "." + b64(sig)
}

// token signs the claims behind the header that GitHub sends.
func (k *key) token(t testing.TB, claims map[string]any) string {
	t.Helper()
	return k.sign(t, k.header(), marshal(t, claims))
}

func (k *key) header() string {
	return fmt.Sprintf(`{"typ":"JWT","alg":%q,"x5t":"Hyq4NATAjsnqC7mdrtAhhrCR2_Q","kid":%q}`, k.alg, k.id)
}

func marshal(t testing.TB, v any) string {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// absent is the value of a claim that a test takes away.
var absent = new(int)

// claims returns the claims of a run on GitHub, with changes.
func claims(t testing.TB, changes map[string]any) map[string]any {
	t.Helper()
	data, err := os.ReadFile("testdata/github-claims.json")
	if err != nil {
		t.Fatal(err)
	}
	var c map[string]any
	if err := json.Unmarshal(data, &c); err != nil {
		t.Fatal(err)
	}
	maps.Copy(c, map[string]any{"iat": start.Unix(), "nbf": start.Unix() - 600, "exp": start.Unix() + 300})
	maps.Copy(c, changes)
	maps.DeleteFunc(c, func(_ string, v any) bool { return v == absent })
	return c
}

// world is one organization that trusts one CI system.
type world struct {
	*clock
	key      *key
	issuer   *issuer
	org      *agentidp.Organization
	provider *agentidp.Provider
	config   verify.Config
	verifier *verify.Verifier
}

func newWorld(t testing.TB, alg string) *world {
	t.Helper()
	kinds, err := providers.Kinds()
	if err != nil {
		t.Fatal(err)
	}
	w := &world{clock: &clock{now: start}, key: newKey(t, "k1", alg)}
	w.issuer = newIssuer(t, w.key)
	w.org = &agentidp.Organization{ID: "org", Slug: "default", Issuer: "https://idp.example.com"}
	w.provider = providers.GitHub(kinds["github"], "")
	w.provider.JWKSURI = w.issuer.URL + "/.well-known/jwks"
	w.provider.Algorithms = []string{alg}
	w.config = verify.Config{Kinds: kinds, Clock: w.Now, Hosts: []string{hostPort(w.issuer.Server)}, RootCAs: x509.NewCertPool()}
	w.config.RootCAs.AddCert(w.issuer.Certificate())
	w.restart(t)
	return w
}

// moves gives the world's issuer another certificate, and so another address.
func (w *world) moves(t testing.TB, cert tls.Certificate, authority *x509.CertPool) {
	t.Helper()
	w.issuer = newIssuerWith(t, &tls.Config{Certificates: []tls.Certificate{cert}}, w.key)
	w.provider.JWKSURI = w.issuer.URL + "/.well-known/jwks"
	w.config.Hosts, w.config.RootCAs = []string{hostPort(w.issuer.Server)}, authority
	w.restart(t)
}

// restart is a new process: nothing is left in memory.
func (w *world) restart(t testing.TB) {
	t.Helper()
	if w.verifier != nil {
		w.verifier.Close()
	}
	w.verifier = verify.New(w.config)
	t.Cleanup(w.verifier.Close)
}

func (w *world) verify(t testing.TB, raw string) (*agentidp.Claims, error) {
	t.Helper()
	u, err := verify.Peek(raw)
	if err != nil {
		return nil, err
	}
	return w.verifier.Verify(t.Context(), w.org, w.provider, u)
}

// good returns a token that verifies now.
func (w *world) good(t testing.TB) string {
	t.Helper()
	now := w.Now().Unix()
	return w.key.token(t, claims(t, map[string]any{"iat": now, "nbf": now - 600, "exp": now + 300}))
}

func (w *world) mustVerify(t testing.TB, raw string) *agentidp.Claims {
	t.Helper()
	c, err := w.verify(t, raw)
	if err != nil {
		t.Fatalf("verify: %v", err)
	}
	return c
}

// wantReason checks that a token is refused, why, and that claims come with the
// error if and only if the signature is proven.
func wantReason(t testing.TB, c *agentidp.Claims, err error, want string) *agentidp.Error {
	t.Helper()
	if err == nil {
		t.Fatalf("accepted; want %s", want)
	}
	if got := verify.Reason(err); got != want {
		t.Fatalf("refused as %s, want %s: %v", got, want, err)
	}
	e := agentidp.AsError(err)
	if (c != nil) != (e.Reason != "") {
		t.Fatalf("claims %v with reason %q", c, e.Reason)
	}
	return e
}

// plainServer serves a key set over plain http on loopback and returns its address.
func plainServer(t testing.TB, body []byte) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(body) }))
	t.Cleanup(s.Close)
	return s.URL
}

// plain is the claims by themselves, without where others may be read.
func plain(c *agentidp.Claims) agentidp.Claims {
	own := *c
	own.Kind, own.Source = nil, nil
	return own
}
