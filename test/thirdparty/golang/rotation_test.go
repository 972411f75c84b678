package thirdparty_test

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

const (
	day       = 24 * time.Hour
	step      = 30 * time.Second
	tokenLife = 15 * time.Minute
	parties   = 10 // one for each step that a key set is kept, so that one reads it at every step
	turn      = 3  // the round in which a rotation begins
)

// crowd is the services, and the tokens that live.
type crowd struct {
	*server
	parties []*party
	tokens  []issued
	signers map[string]int // tokens by the key that signed them
	good    atomic.Int64   // verifications
}

type issued struct {
	token   string
	expires time.Time
}

// newCrowd starts services whose copies of the key set end one step after another, when
// the key is so old.
func newCrowd(t *testing.T, alg string, age time.Duration) *crowd {
	t.Helper()
	c := &crowd{server: newServer(t, alg), signers: map[string]int{}}
	c.clock.advance(age)
	for range parties {
		p, err := newParty(t.Context(), c.server, audience)
		if err != nil {
			t.Fatal(err)
		}
		c.parties = append(c.parties, p)
		if err := errors.Join(c.round(nil)...); err != nil {
			t.Fatal(err)
		}
		c.clock.advance(step)
	}
	return c
}

// round issues tokens, beside it lets every service verify every token that lives, and
// does something else at the same time (nil: nothing). Then every service gets the new
// tokens at once. It returns the failures.
func (c *crowd) round(beside func() error) []error {
	c.tokens = slices.DeleteFunc(c.tokens, func(i issued) bool { return !c.clock.Now().Before(i.expires) })
	fresh := make([]issued, 2)
	var mu sync.Mutex
	var errs []error
	failed := func(err error) {
		if err != nil {
			mu.Lock()
			defer mu.Unlock()
			errs = append(errs, err)
		}
	}
	var wg sync.WaitGroup
	for i := range fresh {
		wg.Go(func() {
			token, err := c.exchange()
			failed(err)
			fresh[i] = issued{token, c.clock.Now().Add(tokenLife)}
		})
	}
	wg.Go(func() { failed(c.verify(c.tokens)) })
	if beside != nil {
		wg.Go(func() { failed(beside()) })
	}
	wg.Wait()
	if len(errs) > 0 {
		return errs
	}
	for _, f := range fresh {
		c.signers[kidOf(c.t, f.token)]++
	}
	c.tokens = append(c.tokens, fresh...)
	failed(c.verify(fresh))
	return errs
}

// verify lets every service verify tokens, all services at the same time.
func (c *crowd) verify(tokens []issued) error {
	errs := make([]error, len(c.parties))
	var wg sync.WaitGroup
	for i, p := range c.parties {
		wg.Go(func() {
			for _, token := range tokens {
				if errs[i] = p.verify(c.t.Context(), token.token); errs[i] != nil {
					return
				}
				c.good.Add(1)
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// kidOf returns the id of the key in a token's header.
func kidOf(t *testing.T, token string) string {
	t.Helper()
	first, _, _ := strings.Cut(token, ".")
	raw, err := base64.RawURLEncoding.DecodeString(first)
	var header struct{ Kid string }
	if err == nil {
		err = json.Unmarshal(raw, &header)
	}
	if err != nil || header.Kid == "" {
		t.Fatalf("a header without kid: %v", err)
	}
	return header.Kid
}

// keyIDs returns the ids in the key set, as it is served.
func (c *crowd) keyIDs() []string {
	c.t.Helper()
	k, err := (&cache{now: c.clock.Now, kept: map[string]*kept{}}).get(c.parties[0].jwks)
	if err != nil {
		c.t.Fatal(err)
	}
	var set struct{ Keys []struct{ Kid string } }
	if err := json.Unmarshal(k.body, &set); err != nil {
		c.t.Fatal(err)
	}
	var ids []string
	for _, key := range set.Keys {
		ids = append(ids, key.Kid)
	}
	return ids
}

// a rotation costs no relying party that honours the key set's Cache-Control a single
// verification: by command and on schedule, while tokens are issued and verified.
func TestNoVerificationFailsThroughARotation(t *testing.T) {
	t.Parallel()
	byCommand := func(c *crowd) error {
		r, err := c.app.RotateKeys(c.t.Context(), c.slug, "")
		if err == nil && (!r.Changed || r.Next == nil) {
			err = errors.New("nothing was rotated")
		}
		return err
	}
	for _, f := range []struct {
		name, alg string
		age       time.Duration // of the key, when the services begin
		before    func(*crowd)  // what happens before the round of the turn
		beside    func(*crowd) error
	}{
		{"by command", "ES256", 0, nil, byCommand},
		{"by command", "EdDSA", 0, nil, byCommand},
		{"on schedule", "RS256", day - (parties+turn)*step, (*crowd).successorOnSchedule, nil},
	} {
		t.Run(f.name+" "+f.alg, func(t *testing.T) {
			t.Parallel()
			c := newCrowd(t, f.alg, f.age)
			for i := range 40 { // twice the lead
				var beside func() error
				if i == turn && f.before != nil {
					f.before(c)
				}
				if i == turn && f.beside != nil {
					beside = func() error { return f.beside(c) }
				}
				if errs := c.round(beside); len(errs) > 0 {
					t.Fatalf("round %d: %v", i, errors.Join(errs...))
				}
				c.clock.advance(step)
			}
			if len(c.signers) != 2 {
				t.Errorf("%d keys signed, want the old one and the new one: %v", len(c.signers), c.signers)
			}
			t.Logf("%d verifications, none failed; tokens by key: %v", c.good.Load(), c.signers)
		})
	}
}

// successorOnSchedule starts the server again at the instant at which the key has signed
// for as long as a key may.
func (c *crowd) successorOnSchedule() {
	c.t.Helper()
	if got := c.keyIDs(); len(got) != 1 {
		c.t.Fatalf("before its time there are the keys %v", got)
	}
	c.restart()
	for deadline := time.Now().Add(time.Minute); len(c.keyIDs()) < 2; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			c.t.Fatal("the key got no successor within a minute")
		}
	}
}

// The caches do keep: a key that has to sign at once, because the one before is given
// up, is unknown to those who read the key set before, for five minutes and no longer.
// Then nobody accepts the key that was given up.
func TestACompromisedKeyIsUnknownToAllInFiveMinutes(t *testing.T) {
	t.Parallel()
	c := newCrowd(t, "ES256", 0)
	old := c.tokens[len(c.tokens)-1]
	if _, err := c.app.RotateKeys(t.Context(), c.slug, c.keyIDs()[0]); err != nil {
		t.Fatal(err)
	}
	token, err := c.exchange()
	if err != nil {
		t.Fatal(err)
	}
	fresh := []issued{{token, c.clock.Now().Add(tokenLife)}}
	refused := 0
	for _, p := range c.parties {
		if p.verify(t.Context(), token) != nil {
			refused++
		}
	}
	if refused != parties-1 { // one reads the key set in this very step
		t.Errorf("%d of %d services refuse a token of a key that their caches do not have", refused, parties)
	}
	c.clock.advance(5 * time.Minute)
	if err := c.verify(fresh); err != nil {
		t.Errorf("after five minutes: %v", err)
	}
	for i, p := range c.parties {
		if err := p.verify(t.Context(), old.token); err == nil {
			t.Errorf("service %d accepts what the compromised key signed", i)
		}
	}
}

// What a service is told by the claims is what go-oidc reads of them, and a token for
// another service is refused.
func TestATokenAsOthersReadIt(t *testing.T) {
	t.Parallel()
	c := newCrowd(t, "ES256", 0)
	token, err := c.exchange()
	if err != nil {
		t.Fatal(err)
	}
	read, err := c.parties[0].verifier.Verify(t.Context(), token)
	if err != nil {
		t.Fatal(err)
	}
	if read.Issuer != c.issuer || read.Subject != c.agent || !slices.Equal(read.Audience, []string{audience}) || !read.Expiry.Equal(c.clock.Now().Add(tokenLife)) {
		t.Errorf("read was %+v", read)
	}
	other, err := newParty(t.Context(), c.server, "https://other.example.com")
	if err != nil {
		t.Fatal(err)
	}
	if err := other.verify(t.Context(), token); err == nil || !strings.Contains(err.Error(), "audience") {
		t.Errorf("another service answers %v", err)
	}
	c.clock.advance(tokenLife + time.Minute)
	if err := c.parties[0].verify(t.Context(), token); err == nil || !strings.Contains(err.Error(), "expired") {
		t.Errorf("after its end it is answered %v", err)
	}
}
