package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sentryagent/agentidp"
)

// ci is a CI that hands out ID tokens, and the server that takes each of them once. An
// exchange takes a second.
type ci struct {
	mu       sync.Mutex
	asked    []string // audiences
	subjects []string // of the exchanges
	sent     []string // bodies
	fate     func(n int) fate
	life     int // seconds
}

func (ci *ci) idToken(_ context.Context, audience string) (string, error) {
	ci.mu.Lock()
	defer ci.mu.Unlock()
	ci.asked = append(ci.asked, audience)
	return fmt.Sprintf("id-%d", len(ci.asked)), nil
}

func (ci *ci) RoundTrip(req *http.Request) (*http.Response, error) {
	select {
	case <-time.After(time.Second):
	case <-req.Context().Done():
		return nil, req.Context().Err()
	}
	ci.mu.Lock()
	defer ci.mu.Unlock()
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return nil, err
	}
	_, subject, _ := strings.Cut(string(body), `"token":"`)
	subject, _, _ = strings.Cut(subject, `"`)
	ci.subjects, ci.sent = append(ci.subjects, subject), append(ci.sent, string(body))
	n := len(ci.subjects)
	f := fate{status: 200, body: fmt.Sprintf(`{"access_token":"at-%d","token_type":"Bearer","expires_in":%d}`, n, ci.life)}
	if ci.fate != nil {
		if other := ci.fate(n); other != (fate{}) {
			f = other
		}
	}
	if f.err != nil {
		return nil, f.err
	}
	return &http.Response{StatusCode: f.status, Header: http.Header{"Retry-After": {f.after}}, Body: io.NopCloser(strings.NewReader(f.body)), Request: req}, nil
}

func (ci *ci) exchanges() int {
	ci.mu.Lock()
	defer ci.mu.Unlock()
	return len(ci.subjects)
}

func (ci *ci) source() *ExchangeSource {
	return &ExchangeSource{
		Client:  &Client{BaseURL: "https://idp.example.com/o/acme/", HTTP: &http.Client{Transport: ci}},
		AgentID: agentID, Scope: "deploy:staging", Audience: "https://deploy.example.com", IDToken: ci.idToken,
	}
}

// token says what a source gives, the token or the error.
func token(t *testing.T, s TokenSource) string {
	t.Helper()
	got, err := s.Token(t.Context())
	if err != nil {
		return err.Error()
	}
	return got
}

func TestATokenIsKeptFor80PercentOfItsLife(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ci := &ci{life: 900}
		s, start := ci.source(), time.Now()
		at := func(second int, want string) {
			t.Helper()
			time.Sleep(time.Until(start.Add(time.Duration(second) * time.Second)))
			if got := token(t, s); got != want {
				t.Errorf("second %d: got %s, want %s", second, got, want)
			}
		}
		at(0, "at-1")
		at(719, "at-1")
		if ci.exchanges() != 1 {
			t.Errorf("%d exchanges before 80 %%", ci.exchanges())
		}
		at(720, "at-1") // the exchange takes its second without the caller
		at(722, "at-2")
		at(720+719, "at-2")
		at(3600, "at-3") // nobody asked for long, and the old one has ended
		if want := []string{"id-1", "id-2", "id-3"}; !slices.Equal(ci.subjects, want) {
			t.Errorf("exchanged %v, want %v", ci.subjects, want)
		}
		want := `{"token":"id-1","agentId":"` + agentID + `","scope":"deploy:staging","audience":"https://deploy.example.com"}`
		if ci.sent[0] != want || ci.asked[0] != "https://idp.example.com/o/acme" {
			t.Errorf("sent %s for %s", ci.sent[0], ci.asked[0])
		}
	})
}

func TestCallersAtTheSameTimeShareOneExchange(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ci := &ci{life: 900}
		s := ci.source()
		leaving, leave := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { // the first, who begins the exchange, does not wait for it
			if _, err := s.Token(leaving); !errors.Is(err, context.Canceled) {
				t.Errorf("who leaves: %v", err)
			}
		})
		synctest.Wait()
		for range 50 {
			wg.Go(func() {
				if got := token(t, s); got != "at-1" {
					t.Errorf("got %s", got)
				}
			})
		}
		synctest.Wait()
		leave()
		wg.Wait()
		if ci.exchanges() != 1 {
			t.Errorf("%d exchanges", ci.exchanges())
		}
	})
}

func TestAFailedRefreshKeepsTheTokenWhileItIsGood(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ci := &ci{life: 200, fate: func(n int) fate {
			if n > 1 && n < 6 {
				return fate{status: 403}
			}
			return fate{}
		}}
		s, start := ci.source(), time.Now()
		for _, step := range []struct {
			second    int
			want      string
			exchanges int // when all is quiet again
		}{
			{0, "at-1", 1},
			{160, "at-1", 2},
			{165, "at-1", 2}, // the pause after a failure
			{172, "at-1", 3},
			{187, "at-1", 4},
			{191, "The server answered 403", 5}, // its last ten seconds
			{194, "at-6", 6},
		} {
			time.Sleep(time.Until(start.Add(time.Duration(step.second) * time.Second)))
			got := token(t, s)
			time.Sleep(2 * time.Second)
			if !strings.Contains(got, step.want) || ci.exchanges() != step.exchanges {
				t.Errorf("second %d: got %s after %d exchanges, want %s after %d", step.second, got, ci.exchanges(), step.want, step.exchanges)
			}
		}
	})
}

// A-252, with TestHowLongIsWaited.
func TestA252EveryAttemptTakesAFreshIDToken(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name  string
		fates []fate
		want  string
		spent int // ID tokens
	}{
		{"what passes is tried again", []fate{{status: 503}, brokenConnection, {status: 429, after: "2"}}, "at-4", 4},
		{"a fourth time is enough", []fate{{status: 503}, {status: 503}, {status: 503}, {status: 503}}, "tried 4 times", 4},
		{"a refusal is final", []fate{{status: 403}}, "The server answered 403", 1},
		{"so is an answer that is none", []fate{{status: 200, body: "{}"}}, "without a usable bearer token", 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				ci := &ci{life: 900, fate: func(n int) fate {
					if n <= len(test.fates) {
						return test.fates[n-1]
					}
					return fate{}
				}}
				// The call that needs the token does not multiply the attempts.
				c := &Client{BaseURL: "https://idp.example.com", Tokens: ci.source(), HTTP: &http.Client{Transport: &network{fates: []fate{fine}}}}
				got := token(t, c.Tokens)
				if !strings.Contains(got, test.want) {
					t.Errorf("got %s, want %s", got, test.want)
				}
				if spent := slices.Compact(slices.Clone(ci.subjects)); len(spent) != test.spent || len(ci.asked) != test.spent {
					t.Errorf("exchanged %v, asked for %d, want %d", ci.subjects, len(ci.asked), test.spent)
				}
			})
		})
	}
}

func TestACallDoesNotRepeatWhatItsTokenSourceGaveUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ci := &ci{fate: func(int) fate { return fate{status: 503} }}
		n := &network{fates: []fate{fine}}
		c := n.client()
		c.Token, c.Tokens = "", ci.source()
		_, err := c.CreateTrustPolicy(t.Context(), agentidp.TrustPolicySpec{})
		if e, ok := errors.AsType[*Error](err); !ok || e.Status != 503 || errors.Is(err, ErrOutcomeUnknown) || ci.exchanges() != 4 || len(n.times) != 0 {
			t.Errorf("%d exchanges, %d calls, %v", ci.exchanges(), len(n.times), err)
		}
	})
}

func TestAShortLifeIsUsedToItsEnd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ci := &ci{life: 5}
		s := ci.source()
		if got := token(t, s); got != "at-1" {
			t.Errorf("got %s", got)
		}
		time.Sleep(2 * time.Second) // 3 of 5
		if got := token(t, s); got != "at-1" || ci.exchanges() != 1 {
			t.Errorf("got %s after %d exchanges", got, ci.exchanges())
		}
		time.Sleep(time.Second) // 4 of 5
		if got := token(t, s); got != "at-2" {
			t.Errorf("got %s", got)
		}
	})
}

func TestALifeBeyondMeasureIsADay(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ci := &ci{life: math.MaxInt}
		s := ci.source()
		if got := token(t, s); got != "at-1" {
			t.Errorf("got %s", got)
		}
		time.Sleep(19 * time.Hour)
		if got := token(t, s); got != "at-1" || ci.exchanges() != 1 {
			t.Errorf("got %s after %d exchanges", got, ci.exchanges())
		}
		time.Sleep(5 * time.Hour)
		if got := token(t, s); got != "at-2" {
			t.Errorf("got %s", got)
		}
	})
}

func TestAnExchangeSourceWithoutAClientSaysSo(t *testing.T) {
	t.Parallel()
	if got := token(t, &ExchangeSource{}); !strings.Contains(got, "ExchangeSource.Client") {
		t.Errorf("got %s", got)
	}
}
