package app

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/jose"
	"github.com/sentryagent/agentidp/internal/keys"
)

// relyingParty is a service that verifies access tokens on its own. It keeps the key
// set for as long as the server says that it may, and asks for nothing sooner: an
// unknown key is a refusal.
type relyingParty struct {
	node    *world // where it reads the key set
	keys    []*jose.Key
	fetched time.Time
	maxAge  time.Duration
}

// verify returns the id of the key that a token is good by.
func (r *relyingParty) verify(token string) (kid string, err error) {
	if now := r.node.clock.Now(); r.keys == nil || now.Sub(r.fetched) >= r.maxAge {
		a, err := r.node.send("GET", "/.well-known/jwks.json", "", nil)
		if err != nil {
			return "", err
		}
		var seconds int
		if _, err := fmt.Sscanf(a.Header.Get("Cache-Control"), "public, max-age=%d", &seconds); err != nil || a.Status != 200 {
			return "", fmt.Errorf("the key set: %d %v", a.Status, a.Header)
		}
		if r.keys, err = jose.ParseJWKS(a.Raw, []string{jose.ES256}); err != nil {
			return "", err
		}
		r.fetched, r.maxAge = now, time.Duration(seconds)*time.Second
	}
	parsed, err := jose.Parse(token)
	if err != nil {
		return "", err
	}
	i := slices.IndexFunc(r.keys, func(k *jose.Key) bool { return k.ID == parsed.Header.Kid })
	if i < 0 {
		return "", fmt.Errorf("key %s is unknown to a relying party that read the keys %s ago", parsed.Header.Kid, r.node.clock.Now().Sub(r.fetched))
	}
	return parsed.Header.Kid, parsed.Verify(r.keys[i])
}

// signedBy returns the id of the key in a token's header.
func signedBy(token string) string {
	parsed, err := jose.Parse(token)
	if err != nil {
		return err.Error()
	}
	return parsed.Header.Kid
}

// accessToken exchanges at this node what is meant for first, again for up to a
// minute: "try again" may be answered at any point.
func (w *world) accessToken(first *world, agent string) (string, error) {
	for deadline := time.Now().Add(time.Minute); ; {
		a, err := w.send("POST", exchangePath, "", exchangeBody(first.subject(nil), agent))
		switch {
		case err != nil:
			return "", err
		case a.Status == 200:
			return a.str("access_token"), nil
		case a.str("code") != agentidp.CodeTemporarilyUnavailable || time.Now().After(deadline):
			return "", fmt.Errorf("%d %s", a.Status, a.Raw)
		}
	}
}

// through a rotation under load, no relying party that honours the key set's
// Cache-Control refuses a token, and no administrator is locked out.
func TestR17A231ARotationUnderLoad(t *testing.T) {
	t.Parallel()
	onBothEngines(t, func(t *testing.T, nodes []*world) {
		nodes = three(nodes)
		w := nodes[0]
		w.clock.freeze()
		agent := w.agentWithPolicy(w.admin())
		month, _, err := w.app.AdminToken(t.Context(), w.slug, "", keys.LongestLife)
		if err != nil {
			t.Fatal(err)
		}
		was := w.keyIDs()[0]
		const step = 30 * time.Second
		parties := make([]*relyingParty, 10) // one for each step that a key set is kept
		for i := range parties {
			parties[i] = &relyingParty{node: nodes[i%len(nodes)]}
		}
		tokens, signers := []string{month}, map[string]int{}
		check := func() {
			t.Helper()
			for i, token := range tokens {
				for _, p := range parties {
					if kid, err := p.verify(token); err != nil {
						t.Fatalf("token %d, by %s: %v", i, kid, err)
					}
				}
			}
		}
		crowd := func(busy func()) { // exchanges at every node, and something else at the same time
			t.Helper()
			got := make([]string, 2*len(nodes))
			errs := make([]error, len(got))
			var wg sync.WaitGroup
			for i := range got {
				wg.Go(func() { got[i], errs[i] = nodes[i%len(nodes)].accessToken(w, agent) })
			}
			busy()
			wg.Wait()
			if err := errors.Join(errs...); err != nil {
				t.Fatal(err)
			}
			for _, token := range got {
				signers[signedBy(token)]++
			}
			tokens = append(tokens[:1], got...)
		}
		for i := range parties { // their key sets end one step after the other
			if _, err := parties[i].verify(month); err != nil {
				t.Fatal(err)
			}
			w.clock.advance(step)
		}
		var next string
		for i := range 30 {
			crowd(func() {
				if i != 3 {
					return
				}
				r, err := w.app.RotateKeys(t.Context(), w.slug, "")
				if err != nil || !r.Changed || r.Signing.ID != was || r.Next == nil {
					t.Errorf("%+v, %v", r, err)
					return
				}
				next = r.Next.ID
			})
			for k, node := range nodes {
				if next != "" && !slices.Contains(node.keyIDs(), next) {
					t.Errorf("the next key is not published by node %d", k)
				}
			}
			check()
			w.clock.advance(step)
		}
		if len(signers) != 2 || signers[was] == 0 || signers[next] == 0 {
			t.Errorf("signed were %v, by %s and then %s", signers, was, next)
		}
		// To the end of the longest life, and past it.
		rec := jwtClaims(t, month)
		w.clock.advance(time.Unix(int64(rec["exp"].(float64)), 0).Sub(w.clock.Now()) - time.Second)
		check()
		for _, node := range nodes {
			node.want(node.do("GET", agentsPath, month, nil), 200)
		}
		w.clock.advance(2 * 24 * time.Hour)
		for _, node := range nodes {
			if got := node.keyIDs(); len(got) != 1 || got[0] != next {
				t.Errorf("the key set is %v, want %s alone", got, next)
			}
		}
	})
}

// Whatever a node is asked first, it knows of a compromised key nothing any more.
func TestACompromisedKeyIsGoneAtOnce(t *testing.T) {
	t.Parallel()
	onBothEngines(t, func(t *testing.T, nodes []*world) {
		nodes[0].clock.freeze()
		bad := ""
		for i, f := range []struct {
			name string
			ask  func(node, w *world, admin, agent string)
		}{
			{"the key set", func(node, _ *world, _, _ string) {
				if got := node.keyIDs(); len(got) != 1 || got[0] == bad {
					node.t.Errorf("it has %v", got)
				}
			}},
			{"an administrator's token that it signed", func(node, _ *world, admin, _ string) {
				node.want(node.do("GET", agentsPath, admin, nil), 401, agentidp.CodeInvalidToken)
			}},
			{"introspection of it", func(node, _ *world, admin, _ string) {
				node.inactive("signed by a compromised key", node.introspect("", admin))
			}},
			{"an exchange", func(node, w *world, _, agent string) {
				if signedBy(node.granted(exchangeBody(w.subject(nil), agent)).str("access_token")) == bad {
					node.t.Error("it signs")
				}
			}},
			{"readiness", func(node, _ *world, _, _ string) { node.want(node.do("GET", "/readyz", "", nil), 200) }},
		} {
			slug := fmt.Sprintf("acme-%d", i)
			w := nodes[0].tenant(slug)
			admin := w.admin()
			agent := w.agentWithPolicy(admin)
			seen := at(nodes, slug)
			for _, node := range seen {
				node.want(node.do("GET", agentsPath, admin, nil), 200)
				node.granted(exchangeBody(w.subject(nil), agent))
			}
			bad = w.keyIDs()[0]
			r, err := w.app.RotateKeys(t.Context(), slug, bad)
			if err != nil || !r.Changed || r.Signing.ID == bad || r.Next != nil {
				t.Fatalf("%+v, %v", r, err)
			}
			for _, node := range slices.Backward(seen) {
				f.ask(node, w, admin, agent)
				node.want(node.do("GET", agentsPath, admin, nil), 401, agentidp.CodeInvalidToken)
				if got := node.keyIDs(); !slices.Equal(got, []string{r.Signing.ID}) {
					t.Errorf("after %s: the keys are %v", f.name, got)
				}
				node.want(node.do("GET", agentsPath, w.admin(), nil), 200)
			}
		}
	})
}

// When the command has returned, nothing is issued with the key, while clients
// exchange all the time; and no exchange fails for it.
func TestNothingIsSignedWithACompromisedKey(t *testing.T) {
	t.Parallel()
	onBothEngines(t, func(t *testing.T, nodes []*world) {
		w := nodes[0]
		admin := w.admin()
		agent := w.agentWithPolicy(admin)
		bad := w.keyIDs()[0]
		var over atomic.Bool
		var before atomic.Int64
		warm := make(chan struct{})
		warmed := sync.OnceFunc(func() { close(warm) })
		client := func(node *world) error {
			for after := 0; after < raceAfter; {
				began := over.Load()
				token, err := node.accessToken(w, agent)
				if err == nil && began && signedBy(token) == bad {
					err = errors.New("signed with the compromised key although it began after the command")
				}
				if err != nil || before.Add(1) >= raceGrants { // nobody waits for a client that failed
					warmed()
				}
				if err != nil {
					return err
				}
				if began {
					after++
				}
			}
			return nil
		}
		var wg sync.WaitGroup
		errs := make([]error, raceClients)
		for i := range errs {
			wg.Go(func() { errs[i] = client(nodes[i%len(nodes)]) })
		}
		<-warm
		r, err := w.app.RotateKeys(t.Context(), w.slug, bad)
		over.Store(true)
		wg.Wait()
		if err := errors.Join(append(errs, err)...); err != nil {
			t.Fatal(err)
		}
		for _, node := range nodes {
			if got := node.keyIDs(); !slices.Equal(got, []string{r.Signing.ID}) {
				t.Errorf("the keys are %v, want %s", got, r.Signing.ID)
			}
			node.want(node.do("GET", agentsPath, admin, nil), 401, agentidp.CodeInvalidToken)
		}
	})
}

// A key set that a node hands out while storage is away is the last that it knew.
func TestKeysDuringAnOutage(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	acme := w.tenant("acme")
	kids := acme.keyIDs()
	r, err := w.app.RotateKeys(t.Context(), "acme", "")
	if err != nil || r.Next == nil {
		t.Fatalf("%+v, %v", r, err)
	}
	want := acme.keyIDs()
	if len(want) != 2 || !slices.Contains(want, kids[0]) || !slices.Contains(want, r.Next.ID) {
		t.Fatalf("the keys are %v", want)
	}
	if err := w.app.db.Close(); err != nil {
		t.Fatal(err)
	}
	w.clock.advance(time.Hour) // past its turn
	if got := acme.keyIDs(); !slices.Equal(got, want) {
		t.Errorf("the keys are %v, want %v", got, want)
	}
	acme.want(acme.do("GET", "/.well-known/openid-configuration", "", nil), 200)
	w.want(w.do("GET", "/o/nobody/.well-known/jwks.json", "", nil), 503, agentidp.CodeTemporarilyUnavailable) // it may be there
}
