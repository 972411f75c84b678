package app

import (
	"bytes"
	"cmp"
	"crypto/ecdsa"
	"crypto/elliptic"
	"encoding/json"
	"flag"
	"fmt"
	"hash/crc32"
	"math"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/credential"
	"github.com/sentryagent/agentidp/internal/jose"
)

// timing is how many requests of each side are measured; 0: none are.
var timing = flag.Int("timing", 0, "how many times TestSecurityA212 sends each request, to compare how long they take")

// alike are two requests whose answers must tell nobody which of them it was: the first is
// about what there is, the second about what there is not.
type alike struct {
	name      string
	is, isNot func() *http.Request
}

// what there is and what there is not are answered alike. With -timing the answers
// are timed, too; docs/performance.md has the figures.
func TestSecurityA212(t *testing.T) {
	t.Parallel()
	onBothEngines(t, func(t *testing.T, nodes []*world) {
		w := nodes[0]
		w.clock.freeze()
		for _, pair := range append(w.alikeToClients(), w.alikeToCallers()...) {
			t.Run("A-212 "+pair.name, func(t *testing.T) {
				is, isNot := w.serve(pair.is()), w.serve(pair.isNot())
				if got, want := gist(is), gist(isNot); got != want {
					t.Errorf("of what there is:\n%s\nand of what there is not:\n%s", got, want)
				}
				if is.Status < 400 && strings.Contains(string(is.Raw), `:true`) {
					t.Errorf("it was let in: %s", is.Raw)
				}
				if *timing > 0 {
					t.Log(w.compare(pair, *timing))
				}
			})
		}
	})
}

// alikeToClients are pairs about clients that do not prove to be any.
func (w *world) alikeToClients() []alike {
	admin := w.admin()
	own, strangers := newECKey(w.t, elliptic.P256()), newECKey(w.t, elliptic.P256())
	c, keyless := w.askingWith(w.register(admin, "client@ci.acme.example"), jose.ES256, own), w.register(admin, "keyless@ci.acme.example")
	nobody := func() string { return agentidp.NewID(time.Now()) }
	form := func(more ...string) *http.Request {
		r := httptest.NewRequest(http.MethodPost, w.url+tokenPath, strings.NewReader(itself(more...).Encode()))
		r.Header.Set("Content-Type", formType)
		return r
	}
	secret := func(client, credentialID, begins string) func() *http.Request {
		return func() *http.Request {
			made, _ := credential.NewSecret(cmp.Or(credentialID, nobody()))
			body := begins + made[len(begins):len(made)-checksumLen]
			return form("client_id", cmp.Or(client, nobody()), "client_secret", body+checksum(body))
		}
	}
	named := func(kid string) string {
		if kid == "" {
			return `{"alg":"ES256"}`
		}
		return header("ES256", kid)
	}
	asserted := func(client, kid string, key *ecdsa.PrivateKey) func() *http.Request {
		return func() *http.Request {
			id := cmp.Or(client, nobody())
			payload := mustJSON(w.t, map[string]any{"iss": id, "sub": id, "aud": w.url, "exp": w.clock.Now().Add(time.Minute).Unix(), "jti": nobody()})
			return form("client_assertion", compact(named(kid), string(payload), es256(key)), "client_assertion_type", assertionType)
		}
	}
	assertion := func(client, kid string) func() *http.Request { return asserted(client, kid, strangers) }
	for name, right := range map[string]func() *http.Request{
		"a secret": secret(c.id, c.credential, c.secret[:len(c.secret)-checksumLen]), "an assertion": asserted(c.id, "", own), "one with a kid": asserted(c.id, c.signer.KeyID(), own),
	} { // or all of them would be refused for something else
		if a := w.serve(right()); a.Status != 200 {
			w.t.Errorf("%s that is right: %s", name, a.Raw)
		}
	}
	const half = 70 // of a secret: its id, and half of what is random
	return []alike{
		{"nothing, twice", secret("", "", ""), secret("", "", "")}, // what the measurement itself is worth
		{"a client, and nobody", secret(c.id, "", ""), secret("", "", "")},
		{"a credential with another secret, and no credential", secret(c.id, c.credential, ""), secret(c.id, "", "")},
		{"half of a secret, and none of it", secret(c.id, c.credential, c.secret[:half]), secret(c.id, c.credential, "")},
		{"an assertion for a client, and for nobody", assertion(c.id, "x"), assertion("", "x")},
		{"an assertion for an agent without keys, and for nobody", assertion(keyless, "x"), assertion("", "x")},
		{"an assertion that names no key, for a client and for nobody", assertion(c.id, ""), assertion("", "")},
		{"an assertion that names a client's key, for it and for nobody", assertion(c.id, c.signer.KeyID()), assertion("", c.signer.KeyID())},
	}
}

const checksumLen = 6

// checksum ends a secret, as anybody can: internal/credential says how.
func checksum(body string) string {
	n, digits := crc32.ChecksumIEEE([]byte(body)), []byte("000000")
	for i := checksumLen - 1; i >= 0; i, n = i-1, n/62 {
		digits[i] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"[n%62]
	}
	return string(digits)
}

// alikeToCallers are pairs about what belongs to others: to strangers' runs, and to those
// who administer another organization, or may do little in this one.
func (w *world) alikeToCallers() []alike {
	admin, lesser := w.admin(), w.admin("tokens:read")
	other := w.tenant("bravo")
	foreign := other.register(other.admin(), agentName)
	policy := other.policy(other.admin(), map[string]any{"agentId": foreign}).str("id")
	known := w.agentWithPolicy(admin)
	w.policy(admin, map[string]any{"repository": "acme/boot"})
	held := w.jti(w.admin())
	nobody := func() string { return agentidp.NewID(time.Now()) }
	exchange := func(repository, agent string) func() *http.Request {
		token := w.subject(stranger(repository)) // refused, so it stays good
		return func() *http.Request {
			body := mustJSON(w.t, exchangeBody(token, cmp.Or(agent, nobody())))
			r := httptest.NewRequest(http.MethodPost, w.url+exchangePath, bytes.NewReader(body))
			r.Header.Set("Content-Type", "application/json")
			return r
		}
	}
	bearing := func(method, path, token, body string) *http.Request {
		r := httptest.NewRequest(method, w.url+path, strings.NewReader(body))
		r.Header.Set("Authorization", "Bearer "+token)
		if body != "" {
			r.Header.Set("Content-Type", formType)
		}
		return r
	}
	get := func(path, id string) func() *http.Request {
		return func() *http.Request { return bearing(http.MethodGet, path+"/"+cmp.Or(id, nobody()), admin, "") }
	}
	revoke := func(id string) func() *http.Request {
		return func() *http.Request {
			return bearing(http.MethodPost, revocationPath, lesser, "token="+cmp.Or(id, nobody()))
		}
	}
	return []alike{
		{"an agent, and none, by a repository without a policy", exchange("mallory/deploy", known), exchange("mallory/deploy", "")},
		{"an agent, and none, by a repository with a policy for none", exchange("acme/boot", known), exchange("acme/boot", "")},
		{"another organization's agent, and none, by a repository", exchange("mallory/deploy", foreign), exchange("mallory/deploy", "")},
		{"another organization's agent, and none", get(agentsPath, foreign), get(agentsPath, "")},
		{"another organization's policy, and none", get(policiesPath, policy), get(policiesPath, "")},
		{"the id of a token, and none, by whoever may not revoke it", revoke(held), revoke("")},
	}
}

// serve has the server answer a request that no network is in front of.
func (w *world) serve(r *http.Request) *answer {
	recorder := httptest.NewRecorder()
	w.app.http.Handler.ServeHTTP(recorder, r)
	a := &answer{Status: recorder.Code, Header: recorder.Header(), Raw: recorder.Body.Bytes()}
	_ = json.Unmarshal(a.Raw, &a.Body)
	return a
}

// compare times the two requests of a pair n times each, in random order, and says by how
// much they differ: Welch's t of those that took no longer than nine in ten of all.
func (w *world) compare(pair alike, n int) string {
	var times [2][]float64
	for range n {
		order := rand.IntN(2)
		for _, side := range []int{order, 1 - order} {
			r := pair.is
			if side == 1 {
				r = pair.isNot
			}
			request := r()
			began := time.Now()
			w.app.http.Handler.ServeHTTP(httptest.NewRecorder(), request)
			times[side] = append(times[side], float64(time.Since(began).Nanoseconds())/1000)
		}
	}
	all := slices.Sorted(slices.Values(slices.Concat(times[0], times[1])))
	most := all[len(all)*9/10]
	var mean, variance, count [2]float64
	for side, taken := range times {
		for _, t := range taken {
			if t <= most { // Welford's sums
				count[side]++
				d := t - mean[side]
				mean[side] += d / count[side]
				variance[side] += d * (t - mean[side])
			}
		}
		variance[side] /= count[side] - 1
	}
	t := (mean[0] - mean[1]) / math.Sqrt(variance[0]/count[0]+variance[1]/count[1])
	return fmt.Sprintf("%.1f µs and %.1f µs, difference %+.2f µs, t %+.1f", mean[0], mean[1], mean[0]-mean[1], t)
}
