package app

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/alecthomas/kong"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/config"
	"github.com/sentryagent/agentidp/internal/limit"
	"github.com/sentryagent/agentidp/internal/pace"
	"github.com/sentryagent/agentidp/internal/verify"
)

// S-085, S-089, and of the attacks what the answers say.
func TestTheLimitsAsTheyAreTold(t *testing.T) {
	t.Parallel()
	w := newWorld(t, behindProxy, func(c *config.Config) {
		c.AddressFailuresPerMinute, c.ExchangesPerMinute, c.TokenRequestsPerMinute = 3, 2, 4
	})
	w.clock.freeze()
	w.converse("testdata/limits/limits.txt")
}

// usualLimits are those that a server has when nobody sets any.
func usualLimits(t *testing.T) option {
	t.Helper()
	var defaults config.Limits
	parser, err := kong.New(&defaults)
	if err == nil {
		_, err = parser.Parse(nil)
	}
	if err != nil {
		t.Fatal(err)
	}
	return func(c *config.Config) { c.Limits = defaults }
}

// from hands an exchange, or with a bearer a list of agents, to the handler as it
// comes from an address.
func (w *world) from(address, bearer, body string) *httptest.ResponseRecorder {
	method, path := http.MethodPost, exchangePath
	if body == "" {
		method, path = http.MethodGet, agentsPath
	}
	r := httptest.NewRequestWithContext(w.t.Context(), method, path, strings.NewReader(body))
	r.RemoteAddr = address + ":4711"
	r.Header.Set("Content-Type", "application/json")
	if bearer != "" {
		r.Header.Set("Authorization", "Bearer "+bearer)
	}
	answer := httptest.NewRecorder()
	w.app.http.Handler.ServeHTTP(answer, r)
	return answer
}

// again returns the instant that Retry-After names.
func (w *world) again(a *httptest.ResponseRecorder) time.Duration {
	w.t.Helper()
	seconds, err := strconv.Atoi(a.Header().Get("Retry-After"))
	if err != nil || seconds < 1 {
		w.t.Fatalf("%d: Retry-After is %q", a.Code, a.Header().Get("Retry-After"))
	}
	return time.Duration(seconds) * time.Second
}

// whoever tries tokens is stopped before his tokens are looked at, good ones too, and
// nobody else is.
func TestA210WrongBearersFromOneAddress(t *testing.T) {
	t.Parallel()
	w := newWorld(t, usualLimits(t))
	w.clock.freeze()
	admin := w.admin()
	tried := 0
	for ; tried < 1000; tried++ {
		if a := w.from("198.51.100.1", fmt.Sprintf("wrong%d", tried), ""); a.Code != 401 {
			if a.Code != 429 {
				t.Fatalf("%d: %s", a.Code, a.Body)
			}
			break
		}
	}
	if tried != 300 {
		t.Errorf("%d were looked at, want 300", tried)
	}
	good := w.from("198.51.100.1", admin, "")
	if good.Code != 429 {
		t.Errorf("a good token from that address: %d", good.Code)
	}
	if a := w.from("198.51.100.2", admin, ""); a.Code != 200 {
		t.Errorf("a good token from another address: %d", a.Code)
	}
	w.clock.advance(w.again(good))
	if a := w.from("198.51.100.1", admin, ""); a.Code != 200 {
		t.Errorf("as late as it was told: %d", a.Code)
	}
	if lines := strings.Count(w.logs.String(), `"status":429`); lines != 1 {
		t.Errorf("%d lines of the log tell of one second's 429, want one", lines)
	}
}

// a forged token names its victim's repository, and costs the victim nothing.
func TestA215ForgedTokensUseUpNothingOfTheirVictim(t *testing.T) {
	t.Parallel()
	f := newForger(t)
	f.restart(usualLimits(t), func(c *config.Config) { c.ExchangesPerMinute = 10 })
	f.clock.freeze()
	parts := strings.Split(f.signed(), ".")
	forged := `{"token":"` + parts[0] + "." + parts[1] + "." + b64(random(256)) + `","agentId":"` + f.agentID + `"}`
	for i := range 100 {
		if a := f.from(fmt.Sprintf("198.51.100.%d", i), "", forged); a.Code != 401 {
			t.Fatalf("a forged token: %d %s", a.Code, a.Body)
		}
	}
	a := f.from("203.0.113.1", "", `{"token":"`+f.signed()+`","agentId":"`+f.agentID+`"}`)
	if got := a.Header().Get("RateLimit"); a.Code != 200 || got != `"exchanges-of-repository";r=9;t=6` {
		t.Errorf("the victim: %d, %s", a.Code, got)
	}
}

// a token that has expired, or that was meant for another service, is authentic, and
// whoever it was once shown to has it. With it nobody uses up what its repository has: not
// its exchanges, nor its refusals, nor those of its provider.
func TestA215OldTokensUseUpNothingOfTheirRepository(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *config.Config) { c.ExchangesPerMinute, c.RefusalsPerMinute = 10, 2 })
	agent := w.agentWithPolicy(w.admin())
	tokens := []string{w.mint()}
	w.clock.advance(time.Hour)
	w.clock.freeze()
	for i := range 50 { // more repositories than the provider's refusals are
		tokens = append(tokens, w.mint(claims{"aud": "https://other.example", "repository_id": strconv.Itoa(10_000 + i)}))
	}
	tokens = append(tokens, w.mint(claims{"aud": "https://other.example"}))
	for _, token := range tokens {
		last := 0
		for range 12 {
			last = w.from("198.51.100.1", "", `{"token":"`+token+`"}`).Code
		}
		if last != 429 {
			t.Errorf("the last of a token that is not good: %d", last)
		}
	}
	a := w.from("203.0.113.1", "", `{"token":"`+w.mint()+`","agentId":"`+agent+`"}`)
	if got := a.Header().Get("RateLimit"); a.Code != 200 || got != `"exchanges-of-repository";r=9;t=6` {
		t.Errorf("the repository: %d, %s", a.Code, got)
	}
	w.want(w.exchange(exchangeBody(w.mint(claims{"ref": "refs/heads/other"}), agent)), 403, agentidp.CodeBranchNotPermitted)
}

// what a client says of its address changes nothing of what it is counted as: not
// to a server without a proxy, nor behind one.
func TestA216AddressesThatAreMadeUp(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]option{"no proxy": func(*config.Config) {}, "a proxy": behindProxy} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, o, func(c *config.Config) { c.AddressFailuresPerMinute = 5 })
			w.clock.freeze()
			for i := range 10 {
				says := fmt.Sprintf("198.51.100.%d", i)
				if name == "a proxy" {
					says += ", 203.0.113.1" // which is what the proxy saw
				}
				want, code := 401, agentidp.CodeInvalidToken
				if i >= 5 {
					want, code = 429, agentidp.CodeRateLimited
				}
				w.want(w.do("GET", agentsPath, "wrong", nil, forwardedFor, says, "X-Real-IP", says, "Forwarded", "for="+says), want, code)
			}
		})
	}
}

// Whoever tries names of organizations is stopped, also where he asks for their health.
// That of the server is told always.
func TestHealthUnderNamesThatAreMadeUp(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *config.Config) { c.AddressFailuresPerMinute = 5 })
	w.clock.freeze()
	for i := range 10 {
		want, code := 404, agentidp.CodeNotFound
		if i >= 5 {
			want, code = 429, agentidp.CodeRateLimited
		}
		w.want(w.do("GET", fmt.Sprintf("/o/nowhere%d/%s", i, []string{"healthz", "readyz"}[i%2]), "", nil), want, code)
	}
	for _, path := range []string{"/healthz", "/readyz"} {
		w.want(w.do("GET", path, "", nil), 200)
	}
}

// five hundred repositories whose runners share an address: all are answered on their
// merits, at once, even if every one of them is refused.
func TestA217ManyRepositoriesBehindOneAddress(t *testing.T) {
	t.Parallel()
	w := newWorld(t, usualLimits(t))
	w.clock.freeze()
	agent := w.agentWithPolicy(w.admin())
	var wg sync.WaitGroup
	for worker := range 4 {
		wg.Go(func() {
			for i := worker; i < 500; i += 4 {
				token := w.mint(claims{"repository": fmt.Sprintf("acme%d/x", i), "repository_id": strconv.Itoa(1000 + i)})
				if a := w.from("203.0.113.1", "", `{"token":"`+token+`"}`); a.Code != 403 {
					t.Errorf("%d: %d %s", i, a.Code, a.Body)
				}
			}
		})
	}
	wg.Wait()
	if a := w.from("203.0.113.1", "", `{"token":"`+w.mint()+`","agentId":"`+agent+`"}`); a.Code != 200 {
		t.Errorf("%d %s", a.Code, a.Body)
	}
}

// A flood of what proves nothing, from more addresses than one: whoever is honest is
// answered throughout, and the flood is turned away once its addresses are known.
func TestHonestRequestsDuringAFlood(t *testing.T) {
	t.Parallel()
	f := newForger(t)
	f.restart(usualLimits(t), func(c *config.Config) { c.AddressFailuresPerMinute = 20 })
	tokens := floodOf(f.badTokens())
	stop := make(chan struct{})
	var flood sync.WaitGroup
	var mu sync.Mutex
	answers := map[int]int{}
	for worker := range 8 {
		flood.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				a := f.from(fmt.Sprintf("198.51.100.%d", worker), "", `{"token":"`+tokens[i%20].spell(i)+`"}`)
				mu.Lock()
				answers[a.Code]++
				mu.Unlock()
			}
		})
	}
	admin := f.admin()
	for range 30 {
		f.want(f.exchange(exchangeBody(f.signed(), f.agentID)), 200)
		f.want(f.do("GET", agentsPath, admin, nil), 200)
	}
	pace.Eventually(t, "the flood is turned away", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return answers[429] > 0
	})
	close(stop)
	flood.Wait()
	for status := range answers {
		if status != 401 && status != 429 {
			t.Errorf("the flood was answered: %v", answers)
		}
	}
	if answers[401] < 8*20 {
		t.Errorf("the first of each address were not looked at: %v", answers)
	}
}

// When all exchanges that may be in work are, the next one is told so; whatever is
// not an exchange goes on.
func TestMoreThanTheServerCanWorkOn(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *config.Config) { c.Concurrency = 2 })
	admin := w.admin()
	agent := w.agentWithPolicy(admin)
	m := w.app.entrance
	for range 2 {
		m.exchanges.Enter(t.Context(), false)
	}
	token := w.mint()
	a := w.want(w.exchange(exchangeBody(token, agent)), 503, agentidp.CodeTemporarilyUnavailable)
	if a.Header.Get("Retry-After") != "1" || a.Header.Get("RateLimit") != "" || a.str("decision_id") != "" {
		t.Errorf("%v %s", a.Header, a.Raw)
	}
	w.want(w.do("GET", agentsPath, admin, nil), 200)
	for _, path := range []string{"/.well-known/jwks.json", "/.well-known/openid-configuration", "/api/v1/openapi.json", "/healthz", "/readyz"} {
		if a := w.do("GET", path, "", nil); a.Status != 200 {
			t.Errorf("%s: %d", path, a.Status)
		}
	}
	for range 2 {
		m.exchanges.Leave()
		m.others.Enter(t.Context(), false)
	}
	w.want(w.exchange(exchangeBody(token, agent)), 200) // it was turned away before anything was done
	w.want(w.do("GET", agentsPath, admin, nil), 503, agentidp.CodeTemporarilyUnavailable)
	for range 2 {
		m.others.Leave()
	}
	w.want(w.do("GET", agentsPath, admin, nil), 200)
}

// Who waits for a place has one in the end; an address that sends what proves nothing
// does not even wait.
func TestAddressesThatFailComeLast(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *config.Config) { c.AddressFailuresPerMinute = 100 })
	w.clock.freeze()
	admin := w.admin()
	for range 60 {
		w.from("198.51.100.1", "wrong", "")
	}
	gate := limit.NewGate(1, 1, time.Hour)
	w.app.entrance.others = gate
	gate.Enter(t.Context(), false)
	failing, honest := make(chan int, 1), make(chan int, 1)
	go func() { failing <- w.from("198.51.100.1", admin, "").Code }()
	select {
	case status := <-failing:
		if status != 503 {
			t.Errorf("the failing address: %d", status)
		}
	case <-time.After(requestTimeout / 2): // it would be answered after the whole of it
		t.Error("the failing address waits")
	}
	go func() { honest <- w.from("198.51.100.2", admin, "").Code }()
	gate.Leave()
	if status := <-honest; status != 200 {
		t.Errorf("the honest one: %d", status)
	}
}

// Requests that end in every other way give their place back.
func TestEveryRequestGivesItsPlaceBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *config.Config) { c.Concurrency = 1 })
	agent := w.agentWithPolicy(w.admin())
	for _, body := range []string{"", "{", `{"token":"x"}`, strings.Repeat(" ", 70_000), strings.Repeat(" ", 64<<10+1), `{"token":"` + w.mint() + `"}`} {
		w.isProblem(w.do("POST", exchangePath, "", body))
	}
	for _, form := range []string{"", "grant_type=x", stsDoor.form(exchangeBody("x", "")), stsDoor.form(exchangeBody(w.mint(), "")), strings.Repeat("x", 70_000)} {
		w.isOAuth(w.postForm(form))
	}
	for _, path := range []string{"/x", "/o/nowhere/x", "//", tokenPath, "/oauth2/introspect", agentsPath, "/.well-known/jwks.json", "/.well-known/x"} {
		for _, method := range []string{"GET", "HEAD", "POST", "DELETE"} {
			w.do(method, path, "", nil)
		}
	}
	for _, d := range allDoors {
		w.want(w.enter(d, exchangeBody(w.mint(), agent)), 200)
	}
	w.want(w.do("GET", agentsPath, w.admin(), nil), 200)
	w.want(w.do("GET", "/.well-known/jwks.json", "", nil), 200)
}

// Whoever asks for health is not made to leave while it is looked at.
func TestHealthIsWork(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, path := range []string{healthPath, readyPath} {
		one := &response{ResponseWriter: httptest.NewRecorder()}
		if err := w.app.admit(one, httptest.NewRequest(http.MethodGet, path, nil), agentidp.DefaultOrganization, path); err != nil || !one.working {
			t.Errorf("%s: %v, and the connection may make room: %v", path, err, !one.working)
		}
		if one.WriteHeader(http.StatusOK); one.working {
			t.Errorf("%s has its answer, and still is worked on", path)
		}
	}
}

// Those who wait for issuers have half of the places, however many there are.
func TestHalfOfThePlacesMayWaitForIssuers(t *testing.T) {
	t.Parallel()
	for _, places := range []int{0, 4, 8, 128, 1000} {
		l := &config.Limits{Concurrency: places}
		if all := verify.AllWaiters * waitersOf(l); all != placesOf(l)/2 {
			t.Errorf("%d wait, of %d places", all, placesOf(l))
		}
	}
}
