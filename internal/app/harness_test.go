package app

import (
	"bytes"
	"context"
	"crypto"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/config"
	"github.com/sentryagent/agentidp/internal/dnstest"
	"github.com/sentryagent/agentidp/internal/emulator"
	"github.com/sentryagent/agentidp/internal/jose"
	"github.com/sentryagent/agentidp/internal/printed"
)

// world is a running server, the CI issuer that it trusts, and their clock.
type world struct {
	t       *testing.T
	app     *App
	url     string // the organization's issuer URL
	slug    string // of the organization
	ci      *emulator.Emulator
	issuer  string
	clock   *testClock
	fetches *atomic.Int64  // requests that the issuer got
	outage  *atomic.Bool   // the issuer fails
	dns     *dnstest.Names // all that the server can ask; it knows where leads says
	issuers *x509.CertPool // authorities of issuers; none at first
	logs    *syncBuffer
	rules   *rules
	tune    func(*http.Server) // changes the next server before it serves; nil: nothing
	stop    func()
	door    *door // through which exchanges go; nil: the native one
}

const (
	repository = "acme/deploy"
	agentName  = "deployer@ci.acme.example"
)

// dnsTable has the names that lead where nothing may be fetched from.
var dnsTable = map[string][]string{
	"loopback.example": {"127.0.0.1", "::1"}, "private.example": {"10.0.0.1", "fd00::1"}, "cloud.example": {"169.254.169.254"},
	"keys.example": {"127.0.0.1"}, "shared.example": {"100.64.0.1"}, "mapped.example": {"::ffff:10.0.0.1"}, "translated.example": {"64:ff9b::a00:1"}, "unspecified.example": {"0.0.0.0"},
}

// leads is where names lead: as dnsTable has it, or, below at.example, to the address
// that the name is, in hexadecimal.
func leads(name string) []netip.Addr {
	if addr, err := hex.DecodeString(strings.TrimSuffix(name, ".at.example")); err == nil {
		if addr, ok := netip.AddrFromSlice(addr); ok {
			return []netip.Addr{addr}
		}
	}
	return dnstest.Table(dnsTable)(name)
}

// nameOf returns the name that leads to an address.
func nameOf(addr netip.Addr) string { return hex.EncodeToString(addr.AsSlice()) + ".at.example" }

// issuerKey is the key of the CI issuer, one for all worlds: RSA keys are slow to
// make.
var issuerKey = sync.OnceValue(func() crypto.Signer {
	key, err := jose.GenerateKey(jose.RS256)
	if err != nil {
		panic(err)
	}
	return key
})

// option changes the server's configuration before it starts.
type option func(*config.Config)

// newWorld starts a server on SQLite in a temporary folder, over real HTTP on
// loopback. Everything ends with the test.
func newWorld(t *testing.T, options ...option) *world {
	t.Helper()
	w := &world{t: t, slug: agentidp.DefaultOrganization, clock: &testClock{}, fetches: &atomic.Int64{}, outage: &atomic.Bool{}, logs: &syncBuffer{}, rules: &rules{}, dns: dnstest.New(leads), issuers: x509.NewCertPool()}
	issuer := httptest.NewUnstartedServer(nil)
	w.issuer = "http://" + issuer.Listener.Addr().String()
	var err error
	w.ci, err = emulator.New(emulator.Config{Issuer: w.issuer, Key: issuerKey(), Run: emulator.Run{Repository: repository}, Clock: w.clock.Now})
	if err != nil {
		t.Fatal(err)
	}
	issuer.Config.Handler = http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		w.fetches.Add(1)
		if w.outage.Load() {
			http.Error(rw, "down", http.StatusServiceUnavailable)
			return
		}
		w.ci.Handler().ServeHTTP(rw, r)
	})
	issuer.Start()
	t.Cleanup(issuer.Close)

	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w.url = "http://" + listener.Addr().String()
	cfg := config.Config{
		Storage:   config.Storage{DataDir: filepath.Join(t.TempDir(), "data")},
		PublicURL: w.url, GitHubIssuer: w.issuer, SigningAlg: "ES256", TokenTTL: 15 * time.Minute, KeepClaims: 30 * day, Dev: true,
		// As many at once as a test wants: how long they take on a busy machine is not its matter.
		Limits: config.Limits{RefusalsPerMinute: 1_000_000, Concurrency: 10_000},
		Listen: listener.Addr().String(),
	}
	for _, o := range options {
		o(&cfg)
	}
	w.start(cfg, listener)
	return w
}

func (w *world) start(cfg config.Config, listener net.Listener) {
	w.t.Helper()
	if err := cfg.Complete(); err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var err error
	all := &slog.HandlerOptions{Level: slog.LevelDebug}
	logger := slog.New(slog.NewJSONHandler(w.logs, all))
	if cfg.LogFormat == "text" {
		logger = slog.New(slog.NewTextHandler(w.logs, all))
	}
	w.app, err = New(ctx, Options{Config: cfg, Version: "test", Listener: listener, Clock: w.clock.Now, Resolver: w.dns.Resolver(), Authorities: w.issuers, Logger: logger})
	if err != nil {
		cancel()
		w.t.Fatal(err)
	}
	master := cfg.MasterKey
	if key, err := os.ReadFile(cfg.MasterKeyFile); err == nil {
		master = strings.TrimSpace(string(key))
	}
	if master != "" {
		printed.Secret(w.t, master)
	}
	w.rules.guard(master)
	w.app.http.Handler = w.rules.around(w.app.http.Handler)
	if w.tune != nil {
		w.tune(w.app.http)
	}
	done := make(chan error, 1)
	go func() { done <- w.app.Run(ctx) }()
	w.stop = sync.OnceFunc(func() {
		page := w.scraped()
		cancel()
		if err := <-done; err != nil {
			w.t.Errorf("the server ended with: %v", err)
		}
		w.abides()
		w.leavesNothing(page)
		printed.Log(w.t, []byte(w.logs.String()))
	})
	w.t.Cleanup(w.stop)
}

// restart ends the server and starts it again on the same data and address.
func (w *world) restart(options ...option) {
	w.t.Helper()
	cfg := w.app.cfg
	for _, o := range options {
		o(&cfg)
	}
	w.stop()
	http.DefaultClient.CloseIdleConnections() // a POST is not sent again over a connection that turns out to be dead
	listener, err := net.Listen("tcp", cfg.Listen)
	if err != nil {
		w.t.Fatal(err)
	}
	w.start(cfg, listener)
}

// jwtPattern is what must not be printed: tokens, and secrets of clients.
var jwtPattern = regexp.MustCompile(`agentidp_cs_[0-9a-zA-Z_]{10,}|eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]*`)

// in returns the same world for a subtest.
func (w *world) in(t *testing.T) *world {
	sub := *w
	sub.t = t
	return &sub
}

// org returns the organization.
func (w *world) org() *agentidp.Organization {
	w.t.Helper()
	org, err := w.app.registry.ReadOrganization(w.t.Context(), w.slug)
	if err != nil {
		w.t.Fatal(err)
	}
	return org
}

// admin returns an admin token with these scopes (none: admin).
func (w *world) admin(scopes ...string) string {
	w.t.Helper()
	token, _, err := w.app.AdminToken(w.t.Context(), w.slug, strings.Join(scopes, " "), 0)
	if err != nil {
		w.t.Fatal(err)
	}
	return token
}

// claims change what a minted token says.
type claims map[string]any

// mint returns a subject token for this server, of the usual run unless changed.
func (w *world) mint(changes ...claims) string {
	w.t.Helper()
	all := map[string]any{}
	for _, c := range changes {
		for name, value := range c {
			all[name] = value
		}
	}
	run := emulator.Run{Repository: repository, Ref: "refs/heads/main", Event: "push", Claims: all}
	if name, ok := all["repository"].(string); ok && strings.Count(name, "/") == 1 {
		run.Repository = name
		if _, set := all["repository_id"]; !set {
			delete(all, "repository")
		}
	}
	if ref, ok := all["ref"].(string); ok && strings.HasPrefix(ref, "refs/") {
		run.Ref = ref
	}
	token, err := w.ci.Mint(emulator.Options{Audience: w.url, Run: &run, Claims: all})
	if err != nil {
		w.t.Fatal(err)
	}
	return token
}

// answer is what the server said.
type answer struct {
	Status int
	Header http.Header
	Raw    []byte
	Body   map[string]any

	door *door // of an exchange, through which it went; nil: the native one
}

// said returns what a refusal says in a sentence, with the quotation marks that an error
// of OAuth cannot have.
func (a *answer) said() string {
	if a.door == nil {
		return a.str("detail")
	}
	return strings.ReplaceAll(a.str("error_description"), "'", `"`)
}

// str returns a member of the body that is a string, or "".
func (a *answer) str(name string) string {
	s, _ := a.Body[name].(string)
	return s
}

// do sends a request with a JSON body (nil: none; string: as it is).
func (w *world) do(method, path, token string, body any, headers ...string) *answer {
	w.t.Helper()
	a, err := w.send(method, path, token, body, headers...)
	if err != nil {
		w.t.Fatal(err)
	}
	return a
}

// send is do for goroutines other than the test's, which must not end it.
func (w *world) send(method, path, token string, body any, headers ...string) (*answer, error) {
	var reader io.Reader
	switch b := body.(type) {
	case nil:
	case string:
		reader = strings.NewReader(b)
	default:
		raw, err := json.Marshal(b)
		if err != nil {
			return nil, err
		}
		reader = bytes.NewReader(raw)
	}
	req, err := http.NewRequestWithContext(w.t.Context(), method, w.url+path, reader)
	if err != nil {
		return nil, err
	}
	if reader != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	a := &answer{Status: resp.StatusCode, Header: resp.Header}
	if a.Raw, err = io.ReadAll(resp.Body); err != nil {
		return nil, err
	}
	_ = json.Unmarshal(a.Raw, &a.Body) // a body that is no JSON object is asserted on as Raw
	w.abides()
	return a, nil
}

// exchange sends an exchange through the world's door. Beside the rules of every answer
// it asserts a documented shape, and the record or counter that is owed.
func (w *world) exchange(body map[string]any) *answer {
	w.t.Helper()
	_, counted := w.refusalsCounted()
	a := w.enter(w.door, body)
	w.wroteDown(a, counted)
	switch {
	case a.Status == http.StatusOK:
	case a.door == nil:
		w.isProblem(a)
	default:
		w.isOAuth(a)
	}
	return a
}

// isProblem asserts that an answer is a problem document with all its members.
func (w *world) isProblem(a *answer) {
	w.t.Helper()
	if got := a.Header.Get("Content-Type"); got != "application/problem+json" {
		w.t.Errorf("status %d: Content-Type is %q", a.Status, got)
	}
	for _, member := range []string{"type", "title", "detail", "code", "message", "request_id"} {
		if a.str(member) == "" {
			w.t.Errorf("status %d: the problem has no %s: %s", a.Status, member, a.Raw)
		}
	}
	if a.str("type") != "urn:agentidp:error:"+a.str("code") || a.str("message") != a.str("detail") {
		w.t.Errorf("the problem's members disagree: %s", a.Raw)
	}
	if a.Status == http.StatusUnauthorized && a.Header.Get("WWW-Authenticate") == "" {
		w.t.Error("a 401 without WWW-Authenticate")
	}
}

// want asserts a status and, for a refusal, its code and reason.
func (w *world) want(a *answer, status int, codeAndReason ...string) *answer {
	w.t.Helper()
	code, reason := "", ""
	if len(codeAndReason) > 0 {
		code = codeAndReason[0]
	}
	if len(codeAndReason) > 1 {
		reason = codeAndReason[1]
	}
	if a.Status != status || a.str("code") != code || a.str("reason") != reason {
		w.t.Fatalf("got %d %s %s, want %d %s %s\n%s", a.Status, a.str("code"), a.str("reason"), status, code, reason, jwtPattern.ReplaceAll(a.Raw, []byte("(a secret)")))
	}
	return a
}

// policy creates a trust policy for the usual repository and returns it.
func (w *world) policy(admin string, fields map[string]any) *answer {
	w.t.Helper()
	body := map[string]any{"provider": "github", "repository": repository}
	for name, value := range fields {
		body[name] = value
	}
	return w.want(w.do(http.MethodPost, "/api/v1/oidc/trust-policies", admin, body), http.StatusCreated)
}

// register creates an agent as an administrator and returns its id.
func (w *world) register(admin, name string, capabilities ...string) string {
	w.t.Helper()
	a := w.want(w.do(http.MethodPost, "/api/v1/agents", admin, map[string]any{"name": name, "capabilities": capabilities}), http.StatusCreated)
	return a.str("agentId")
}

// agentWithPolicy returns an agent that the usual run on main gets tokens for.
func (w *world) agentWithPolicy(admin string) string {
	w.t.Helper()
	id := w.register(admin, agentName, "deploy:staging", "deploy:production")
	w.policy(admin, map[string]any{"branch": "main", "agentId": id})
	return id
}

// decision returns a recorded decision.
func (w *world) decision(id string) *agentidp.Decision {
	w.t.Helper()
	d, err := w.app.db.Decision(w.t.Context(), w.org().ID, id)
	if err != nil {
		w.t.Fatalf("decision %s: %v", id, err)
	}
	return d
}

// testClock is the time that the server and its issuer believe in.
type testClock struct {
	mu     sync.Mutex
	off    time.Duration
	frozen time.Time // zero: the clock runs
}

// Now returns the real time, or the one at which the clock was frozen, plus what
// the clock was advanced by.
func (c *testClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.frozen.IsZero() {
		return c.frozen.Add(c.off)
	}
	return time.Now().Add(c.off)
}

// freeze stops the clock at a whole second: from then on only advance moves it.
func (c *testClock) freeze() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.frozen = time.Now().Truncate(time.Second)
}

func (c *testClock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.off += d
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}
