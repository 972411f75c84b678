package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sentryagent/agentidp"
)

func TestWhichCallsAreRepeatedAfterWhichFailures(t *testing.T) {
	t.Parallel()
	const all, safe, none = "every call", "what may be done twice", "nothing"
	for _, failure := range []struct {
		name     string
		fate     fate
		repeated string
		unknown  bool // whether a change was made
	}{
		{"a refused connection", refusedConnection, all, false},
		{"a broken connection", brokenConnection, safe, true},
		{"a transport that does not tell", fate{err: io.ErrUnexpectedEOF, silent: true}, safe, true},
		{"429", fate{status: 429}, safe, false},
		{"502", fate{status: 502}, safe, true},
		{"503", fate{status: 503}, safe, true},
		{"504", fate{status: 504}, safe, true},
		{"500", fate{status: 500}, none, true},
		{"503, of an issuer that cannot be reached", fate{status: 503, body: `{"code":"issuer_unreachable","message":"Down."}`}, none, false},
		{"an answer that takes too long", fate{err: context.DeadlineExceeded}, none, true},
		{"a call that was called off", fate{err: context.Canceled}, none, true},
		{"a host that nobody knows", unknownHost, none, false},
		{"a certificate for another name", wrongCertificate, none, false},
		{"a server that speaks plain http", fate{err: http.ErrSchemeMismatch, unsent: true}, none, false},
		{"400", fate{status: 400}, none, false},
		{"401", fate{status: 401}, none, false},
		{"403", fate{status: 403}, none, false},
		{"404", fate{status: 404}, none, false},
		{"409", fate{status: 409}, none, false},
		{"412", fate{status: 412}, none, false},
	} {
		for _, k := range everyCall {
			t.Run(failure.name+"/"+k.name, func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					n := &network{fates: []fate{failure.fate}}
					err := k.call(t.Context(), n.client())
					want := 1
					if failure.repeated == all || failure.repeated == safe && (k.kind == reads || k.kind == repeats) {
						want = 1 + DefaultMaxRetries
					}
					if len(n.times) != want {
						t.Errorf("%d requests, want %d", len(n.times), want)
					}
					if unknown := failure.unknown && (k.kind == repeats || k.kind == once); errors.Is(err, ErrOutcomeUnknown) != unknown {
						t.Errorf("the outcome is unknown: %v; got %v", unknown, err)
					}
					if spent := failure.unknown && k.kind == spends; err == nil || strings.Contains(err.Error(), "takes a fresh one") != spent {
						t.Errorf("the subject token may be spent: %v; got %v", spent, err)
					}
					if told := fmt.Sprintf("tried %d times", want); want > 1 && !strings.Contains(err.Error(), told) {
						t.Errorf("got %v, want it to say %q", err, told)
					}
				})
			})
		}
	}
}

func TestARepeatedCallIsTheSameAndItsAnswerCounts(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := &network{fates: []fate{{status: 503}, brokenConnection, {status: 200, body: `{"id":"` + policyID + `","revision":8}`}}}
		got, err := n.client().ReplaceTrustPolicy(t.Context(), policyID, 7, agentidp.TrustPolicySpec{Provider: "github", Repository: "acme/deploy"})
		if err != nil || got.Revision != 8 {
			t.Fatalf("got %+v, %v", got, err)
		}
		for i, header := range n.header {
			if header.Get("If-Match") != `"7"` || n.bodies[i] != `{"provider":"github","repository":"acme/deploy"}` {
				t.Errorf("request %d: If-Match %s, body %s", i, header.Get("If-Match"), n.bodies[i])
			}
		}
	})
}

// What the attempt before did may be why this one is refused.
func TestTheRefusalOfARepetitionDoesNotHideWhatWasDoneBefore(t *testing.T) {
	t.Parallel()
	for _, before := range []struct {
		fate    fate
		unknown bool
	}{{fate{status: 503}, true}, {brokenConnection, true}, {refusedConnection, false}, {fate{status: 429}, false}} {
		synctest.Test(t, func(t *testing.T) {
			n := &network{fates: []fate{before.fate, {status: 404}}}
			err := n.client().DeleteTrustPolicy(t.Context(), policyID, DeleteOptions{})
			e, ok := errors.AsType[*Error](err)
			if !ok || e.Status != 404 || errors.Is(err, ErrOutcomeUnknown) != before.unknown {
				t.Errorf("%+v: got %v, want 404 and unknown %v", before.fate, err, before.unknown)
			}
		})
	}
}

// A-252, with TestA252EveryAttemptTakesAFreshIDToken.
func TestHowLongIsWaited(t *testing.T) {
	t.Parallel()
	const ms = time.Millisecond
	for _, test := range []struct {
		name  string
		after func() string
		from  []time.Duration // at least; at most its jitter more
		plus  []time.Duration
	}{
		{"twice as long every time, less up to a half by chance", func() string { return "" }, []time.Duration{0, 0, 0}, []time.Duration{250 * ms, 500 * ms, time.Second}},
		{"as long as Retry-After says, and that", func() string { return "7" }, []time.Duration{7 * time.Second, 7 * time.Second, 7 * time.Second}, []time.Duration{250 * ms, 500 * ms, time.Second}},
		{"until the date that Retry-After says", func() string { return time.Now().Add(9 * time.Second).UTC().Format(http.TimeFormat) }, []time.Duration{9 * time.Second, 0, 0}, []time.Duration{250 * ms, 500 * ms, time.Second}},
		{"a Retry-After in the past is none", func() string { return "Fri, 31 Dec 1999 23:59:59 GMT" }, []time.Duration{0, 0, 0}, []time.Duration{250 * ms, 500 * ms, time.Second}},
		{"a Retry-After that is no number is none", func() string { return "-5" }, []time.Duration{0, 0, 0}, []time.Duration{250 * ms, 500 * ms, time.Second}},
		{"up to the longest wait", func() string { return "30" }, []time.Duration{MaxRetryWait, MaxRetryWait, MaxRetryWait}, []time.Duration{250 * ms, 500 * ms, time.Second}},
		{"and not at all for more than that", func() string { return "31" }, nil, nil},
		{"and not for what is too large to count", func() string { return strconv.Itoa(1<<31) + "000000000" }, []time.Duration{0, 0, 0}, []time.Duration{250 * ms, 500 * ms, time.Second}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				n := &network{fates: []fate{{status: 503, after: test.after()}}}
				if err := listAgents(t.Context(), n.client()); err == nil {
					t.Fatal("no error")
				}
				got := n.waits()
				if len(got) != len(test.from) {
					t.Fatalf("waited %v, want %d times", got, len(test.from))
				}
				for i, wait := range got {
					if low, high := test.from[i]+test.plus[i]/2, test.from[i]+test.plus[i]; wait < low || wait > high {
						t.Errorf("wait %d was %v, want %v to %v", i+1, wait, low, high)
					}
				}
			})
		})
	}
}

func TestHowOftenIsForTheCallerToSay(t *testing.T) {
	t.Parallel()
	for retries, want := range map[int]int{-1: 1, 0: 1 + DefaultMaxRetries, 1: 2, 9: 10} {
		synctest.Test(t, func(t *testing.T) {
			n := &network{fates: []fate{{status: 503}}}
			c := n.client()
			c.MaxRetries = retries
			if err := listAgents(t.Context(), c); err == nil || len(n.times) != want {
				t.Errorf("MaxRetries %d: %d requests, want %d; %v", retries, len(n.times), want, err)
			}
		})
	}
}

func TestTheContextEndsTheWaiting(t *testing.T) {
	t.Parallel()
	t.Run("when it is cancelled, the error is both", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			time.AfterFunc(3*time.Second, cancel)
			n, start := &network{fates: []fate{{status: 503, after: "20"}}}, time.Now()
			err := listAgents(ctx, n.client())
			e, ok := errors.AsType[*Error](err)
			if !ok || e.RetryAfter != 20*time.Second || !errors.Is(err, context.Canceled) || len(n.times) != 1 {
				t.Errorf("%d requests, %v", len(n.times), err)
			}
			if waited := time.Since(start); waited != 3*time.Second {
				t.Errorf("waited %v", waited)
			}
		})
	})
	t.Run("when it would end first, there is no waiting and the answer is the error", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			n, start := &network{fates: []fate{{status: 503, after: "20"}}}, time.Now()
			err := listAgents(ctx, n.client())
			if e, ok := errors.AsType[*Error](err); !ok || e.Status != 503 || time.Since(start) != 0 {
				t.Errorf("after %v: %v", time.Since(start), err)
			}
		})
	})
}

// The fates above are only as good as the signs by which they are known: here are the
// real ones.
func TestARequestThatWasSentIsToldFromOneThatWasNot(t *testing.T) {
	t.Parallel()
	var requests atomic.Int64
	breaking := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		requests.Add(1)
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		conn.Close()
	}))
	c := &Client{BaseURL: breaking.URL, Token: "t", MaxRetries: 1}
	_, err := c.CreateTrustPolicy(t.Context(), agentidp.TrustPolicySpec{})
	if !errors.Is(err, ErrOutcomeUnknown) || requests.Load() != 1 {
		t.Errorf("a connection that broke: %d requests, %v", requests.Load(), err)
	}
	if err := listAgents(t.Context(), c); err == nil || requests.Load() != 3 {
		t.Errorf("a connection that broke: %d requests, want 2 more; %v", requests.Load(), err)
	}
	breaking.Close()
	_, err = c.CreateTrustPolicy(t.Context(), agentidp.TrustPolicySpec{})
	if err == nil || errors.Is(err, ErrOutcomeUnknown) || !strings.Contains(err.Error(), "connection refused") || !strings.Contains(err.Error(), "tried 2 times") {
		t.Errorf("nobody listening: %v", err)
	}
	secure := httptest.NewUnstartedServer(http.NotFoundHandler())
	secure.Config.ErrorLog = log.New(io.Discard, "", 0)
	secure.StartTLS()
	defer secure.Close()
	c.BaseURL = secure.URL
	_, err = c.CreateTrustPolicy(t.Context(), agentidp.TrustPolicySpec{})
	if err == nil || errors.Is(err, ErrOutcomeUnknown) || strings.Contains(err.Error(), "tried") {
		t.Errorf("a certificate that nobody signed: %v", err)
	}
}
