package verify_test

import (
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/jose"
	"github.com/sentryagent/agentidp/internal/verify"
)

// unknown key ids while the issuer does not answer. A few tokens wait for
// it, of one issuer and of all, and the others are told at once; tokens whose key is
// known are verified meanwhile.
func TestA173A177FewWaitForAnIssuerThatIsSlow(t *testing.T) {
	t.Parallel()
	w := newWorld(t, jose.ES256)
	w.config.Waiters = 4
	good, body := w.good(t), jwks(t, w.key)
	slow := &atomic.Bool{}
	synctest.Test(t, func(t *testing.T) {
		w.config.SetTransport(roundTripper(func(r *http.Request) (*http.Response, error) {
			if slow.Load() {
				<-r.Context().Done()
				return nil, r.Context().Err()
			}
			return answered(string(body)), nil
		}))
		w.restart(t)
		w.mustVerify(t, good)
		slow.Store(true)
		w.Advance(provoked)

		one, other, third := *w.provider, *w.provider, *w.provider
		other.JWKSURI += "?other"
		third.JWKSURI += "?third"
		crowd := func(p *agentidp.Provider) *crowd { return w.crowd(t, p, 10) }
		ones, others, thirds := crowd(&one), crowd(&other), crowd(&third)
		began := time.Now()
		ones.refused(t, 6, agentidp.CodeTemporarilyUnavailable)
		others.refused(t, 6, agentidp.CodeTemporarilyUnavailable)
		thirds.refused(t, 10, agentidp.CodeTemporarilyUnavailable) // all together are eight
		w.mustVerify(t, good)
		if d := time.Since(began); d != 0 {
			t.Errorf("somebody waited %s", d)
		}
		w.wantFetches(t, 1) // they are counted when they end

		ones.refused(t, 4, agentidp.CodeIssuerUnreachable)
		others.refused(t, 4, agentidp.CodeIssuerUnreachable)
		if d := time.Since(began); d != fetchTime {
			t.Errorf("those who could wait were told after %s", d)
		}
		synctest.Wait()
		w.wantFetches(t, 4) // one for each, though nobody could wait for the third

		// Whoever waited is not counted any more.
		slow.Store(false)
		w.Advance(provoked)
		newer := newKey(t, "k2", jose.ES256)
		body = jwks(t, w.key, newer)
		w.mustVerify(t, newer.token(t, claims(t, map[string]any{"exp": w.Now().Unix() + 300, "iat": w.Now().Unix()})))
		w.verifier.Close()
	})
}

const (
	provoked  = 30 * time.Second // between fetches that tokens provoke
	fetchTime = 5 * time.Second
)

// crowd is so many tokens with key ids that nobody knows.
type crowd struct{ codes chan string }

func (w *world) crowd(t *testing.T, p *agentidp.Provider, n int) *crowd {
	t.Helper()
	u, err := verify.Peek(fakeSigned(`{"alg":"ES256","kid":"unknown"}`, marshal(t, claims(t, nil))))
	if err != nil {
		t.Fatal(err)
	}
	c := &crowd{make(chan string, n)}
	for range n {
		go func() {
			_, err := w.verifier.Verify(t.Context(), w.org, p, u)
			e := agentidp.AsError(err)
			if e.Kind != agentidp.Unavailable || e.RetryAfter <= 0 {
				t.Errorf("got %v", err)
			}
			c.codes <- e.Code
		}()
	}
	synctest.Wait()
	return c
}

// refused asserts with which code the next of them are refused.
func (c *crowd) refused(t *testing.T, n int, code string) {
	t.Helper()
	for i := range n {
		if got := <-c.codes; got != code {
			t.Fatalf("number %d is refused as %s, want %s", i+1, got, code)
		}
	}
}
