package app

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"database/sql"
	"encoding/base64"
	"encoding/json"
	"math/big"
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

// ciKey is the private key of every world's CI issuer. Whoever holds it can say
// anything with a good signature.
func ciKey() *rsa.PrivateKey { return issuerKey().(*rsa.PrivateKey) }

// malloryKey is a key that nobody trusts.
var malloryKey = sync.OnceValue(func() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
})

func newECKey(t *testing.T, curve elliptic.Curve) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

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
	garbage *answer // to what is no token at all
}

func newForger(t *testing.T, options ...option) *forger {
	t.Helper()
	f := &forger{world: newWorld(t, options...), trapped: &atomic.Int64{}}
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
	f.garbage = f.want(f.submit("garbage"), http.StatusUnauthorized, agentidp.CodeInvalidToken)
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

// signer signs the signing input of a JWS, in whatever way.
type signer func(input string) []byte

// compact returns a compact JWS, whatever its parts are.
func compact(header, payload string, sign signer) string {
	return joined(b64(header), b64(payload), sign)
}

// joined does that for segments that are encoded already, however badly.
func joined(header, payload string, sign signer) string {
	input := header + "." + payload
	return input + "." + b64(sign(input))
}

func rs256(input string) []byte { return pkcs1(ciKey(), crypto.SHA256)(input) }

func pkcs1(key *rsa.PrivateKey, hash crypto.Hash) signer {
	return func(input string) []byte {
		h := hash.New()
		h.Write([]byte(input))
		signature, err := rsa.SignPKCS1v15(nil, key, hash, h.Sum(nil))
		if err != nil {
			panic(err)
		}
		return signature
	}
}

// es256 hashes with SHA-256 whatever the key's curve is.
func es256(key *ecdsa.PrivateKey) signer {
	return func(input string) []byte {
		r, s := ecSign(key, input)
		return rs(r, s, (key.Params().BitSize+7)/8)
	}
}

func ecSign(key *ecdsa.PrivateKey, input string) (r, s *big.Int) {
	sum := sha256.Sum256([]byte(input))
	r, s, err := ecdsa.Sign(rand.Reader, key, sum[:])
	if err != nil {
		panic(err)
	}
	return r, s
}

// rs writes two integers of size bytes one behind the other (RFC 7518 §3.4).
func rs(r, s *big.Int, size int) []byte {
	return append(r.FillBytes(make([]byte, size)), s.FillBytes(make([]byte, size))...)
}

// raw is a signer that does not look at its input.
func raw(signature []byte) signer { return func(string) []byte { return signature } }

func random(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b)
	return b
}

// jwk describes a public key; a member that is nil is left out.
func jwk(pub crypto.PublicKey, kid string, members claims) claims {
	k := claims{"kid": kid, "use": "sig"}
	switch key := pub.(type) {
	case *rsa.PublicKey:
		k["kty"], k["alg"] = "RSA", "RS256"
		k["n"], k["e"] = b64(key.N.Bytes()), b64(big.NewInt(int64(key.E)).Bytes())
	case *ecdsa.PublicKey:
		point, err := key.Bytes()
		if err != nil {
			panic(err)
		}
		size := len(point) / 2
		k["kty"], k["alg"], k["crv"] = "EC", map[string]string{"P-256": "ES256", "P-384": "ES384"}[key.Params().Name], key.Params().Name
		k["x"], k["y"] = b64(point[1:1+size]), b64(point[1+size:])
	}
	for name, value := range members {
		if k[name] = value; value == nil {
			delete(k, name)
		}
	}
	return k
}

// keySet is a JWK set of the given keys.
func keySet(keys ...claims) string {
	var b bytes.Buffer
	if err := json.NewEncoder(&b).Encode(map[string]any{"keys": keys}); err != nil {
		panic(err)
	}
	return strings.TrimSpace(b.String())
}
