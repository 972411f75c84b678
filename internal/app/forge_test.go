package app

import (
	"crypto/rand"
	"database/sql"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/jose"
	"github.com/sentryagent/agentidp/internal/store"
)

// forger is a world in which whoever attacks may have the provider's real key. Its
// clock stands still, its issuer's keys are known to the server, and an agent with
// a policy waits for the usual run.
type forger struct {
	*world
	agentID string
	kid     string
	names   map[string]string // of providers, by issuer
	rows    *sql.DB           // the server's own database
	trap    *httptest.Server  // an address that nothing may ever connect to
	trapped *atomic.Int64
	turn    *int              // how many attacks there were: each goes through another door than the one before
	garbage map[*door]*answer // to what is no token at all
}

func newForger(t *testing.T, options ...option) *forger {
	t.Helper()
	f := &forger{world: newWorld(t, options...), trapped: &atomic.Int64{}, turn: new(int), garbage: map[*door]*answer{}}
	f.clock.freeze()
	f.names = map[string]string{f.issuer: "github"}
	f.trap = httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { f.trapped.Add(1) }))
	t.Cleanup(f.trap.Close)
	var err error
	if f.rows, err = sql.Open("sqlite", strings.TrimPrefix(f.app.cfg.DatabaseURL, "sqlite:")); err != nil {
		t.Fatal(err)
	}
	f.rows.SetMaxOpenConns(1)
	t.Cleanup(func() { f.rows.Close() })
	if f.kid, err = jose.Thumbprint(ciKey().Public()); err != nil {
		t.Fatal(err)
	}
	f.agentID = f.agentWithPolicy(f.admin())
	for _, d := range allDoors {
		f.garbage[d] = f.wantAs(f.through(d).exchange(map[string]any{"token": "garbage", "agentId": f.agentID}), http.StatusUnauthorized, agentidp.CodeInvalidToken)
	}
	f.becomesAfter(1, f.signed(), "granted")
	return f
}

// in returns the forger for a subtest.
func (f *forger) in(t *testing.T) *forger {
	sub := *f
	sub.world = f.world.in(t)
	return &sub
}

func (f *forger) submit(token string) *answer {
	f.t.Helper()
	return f.exchange(map[string]any{"token": token, "agentId": f.agentID})
}

// provider registers a provider of kind github, and a policy that lets the usual
// run have tokens for the agent from it as well. keys is a key set, or the address
// of one.
func (f *forger) provider(name, issuer, keys string, algorithms ...string) {
	f.t.Helper()
	now := f.clock.Now()
	p := &agentidp.Provider{
		ID: agentidp.NewID(now), OrganizationID: f.org().ID, Name: name, Kind: "github", Issuer: issuer,
		Algorithms: algorithms, MaxTokenAge: time.Hour, Replay: agentidp.ReplayReject, Revision: 1, CreatedAt: now,
	}
	if strings.HasPrefix(keys, "{") {
		p.JWKS = []byte(keys)
	} else {
		p.JWKSURI = keys
	}
	if err := f.app.db.Write(f.t.Context(), func(tx *store.Tx) error { return tx.CreateProvider(f.t.Context(), p) }); err != nil {
		f.t.Fatal(err)
	}
	f.names[issuer] = name
	f.policy(f.admin(), map[string]any{"provider": name, "branch": "main", "agentId": f.agentID})
}

// publisher is an issuer that publishes whatever a test wants it to.
type publisher struct {
	*httptest.Server
	mu    sync.Mutex
	serve http.HandlerFunc
}

// publisher starts one; its requests count as fetches.
func (f *forger) publisher(keys string) *publisher {
	p := &publisher{}
	p.publish(keys)
	p.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.fetches.Add(1)
		p.mu.Lock()
		serve := p.serve
		p.mu.Unlock()
		serve(w, r)
	}))
	f.t.Cleanup(p.Close)
	return p
}

func (p *publisher) publish(keys string) {
	p.answer(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(keys)) })
}

func (p *publisher) answer(serve http.HandlerFunc) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.serve = serve
}

// payload returns the payload of a token for the usual run, as JSON.
func (f *forger) payload(changes ...claims) string {
	f.t.Helper()
	payload, err := base64.RawURLEncoding.DecodeString(strings.Split(f.mint(changes...), ".")[1])
	if err != nil {
		f.t.Fatal(err)
	}
	return string(payload)
}

// signed returns a token with the signature of the CI issuer's key.
func (f *forger) signed(changes ...claims) string { return f.spelled(f.payload(changes...)) }

// spelled does that for a payload that is spelled by hand.
func (f *forger) spelled(payload string) string {
	return compact(header("RS256", f.kid), payload, rs256)
}

// headed does that for a header that is spelled by hand.
func (f *forger) headed(header string) string { return compact(header, f.payload(), rs256) }

// header spells a protected header; more are members as JSON.
func header(alg, kid string, more ...string) string {
	members := append([]string{`"alg":` + quoted(alg), `"kid":` + quoted(kid), `"typ":"JWT"`}, more...)
	return "{" + strings.Join(members, ",") + "}"
}

// prepended and appended put members, as JSON, at either end of an object.
func prepended(object, members string) string { return "{" + members + "," + object[1:] }
func appended(object, members string) string  { return object[:len(object)-1] + "," + members + "}" }

// quoted spells a string as JSON.
func quoted(s string) string {
	b, err := json.Marshal(s)
	if err != nil {
		panic(err)
	}
	return string(b)
}

func b64[T string | []byte](s T) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }

func unb64(s string) []byte {
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil {
		panic(err)
	}
	return b
}

// compact returns a compact JWS, whatever its parts are.
func compact(header, payload string, sign signer) string {
	return joined(b64(header), b64(payload), sign)
}

// joined does that for segments that are encoded already, however badly.
func joined(header, payload string, sign signer) string {
	input := header + "." + payload
	return input + "." + b64(sign(input))
}

func random(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b)
	return b
}
