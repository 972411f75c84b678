package app

import (
	"strings"
	"testing"
	"time"

	"github.com/sentryagent/agentidp"
)

// the server's clock jumps and comes back. Whatever it says, what was exchanged is
// never exchanged again, what is issued ends after it begins and lives no longer than it
// may, and when the clock is right again, nothing is left of the time in which it was not.
func TestR19TokensWhileTheClockIsWrong(t *testing.T) {
	t.Parallel()
	until := func(year int, month time.Month, d, hour, minute int) time.Duration {
		return time.Until(time.Date(year, month, d, hour, minute, 0, 0, time.UTC))
	}
	for _, tt := range []struct {
		name string
		jump time.Duration
		// what becomes of a subject token that the CI issued by the right time
		fate string
		told bool
	}{
		{"R-19 by half the skew", 30 * time.Second, "", false},
		{"R-19 back by half the skew", -30 * time.Second, "", false},
		{"R-19 by five minutes", 5 * time.Minute, "", true},
		{"R-19 back by five minutes", -5 * time.Minute, agentidp.ReasonTokenNotYetValid, true},
		{"R-19 by an hour", time.Hour, agentidp.ReasonTokenExpired, true},
		{"R-19 back by an hour", -time.Hour, agentidp.ReasonTokenNotYetValid, true},
		{"R-19 into 2038, past what 32 bits count", until(2038, 1, 19, 3, 20), agentidp.ReasonTokenExpired, true},
		{"R-19 back to 1971", until(1971, 1, 1, 0, 0), agentidp.ReasonTokenNotYetValid, true},
		{"R-19 to the end of what dates can say", until(9999, 12, 31, 23, 40), agentidp.ReasonTokenExpired, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.clock.freeze()
			agent := w.agentWithPolicy(w.admin())
			if err := w.app.removeDue(t.Context()); err != nil {
				t.Fatal(err)
			}
			used, unused := exchangeBody(w.subject(nil), agent), exchangeBody(w.subject(nil), agent)
			w.granted(used)
			right := w.clock.Now()

			w.clock.advance(tt.jump)
			if err := w.app.removeDue(t.Context()); err != nil {
				t.Fatal(err)
			}
			if told := strings.Contains(w.logs.String(), "the clock was set"); told != tt.told {
				t.Errorf("the log tells of it: %v, want %v", told, tt.told)
			}
			if a := w.exchange(used); a.Status != 401 {
				t.Errorf("a used token: %d", a.Status)
			}
			if tt.fate == "" {
				w.granted(unused)
			} else {
				w.want(w.exchange(unused), 401, agentidp.CodeInvalidToken, tt.fate)
			}
			meanwhile := w.wholeToken(agent)

			w.clock.advance(right.Sub(w.clock.Now()))
			w.want(w.exchange(used), 401, agentidp.CodeInvalidToken, agentidp.ReasonTokenReplayed)
			if tt.fate != "" {
				w.granted(unused) // that it was refused did not use it up
			}
			if tt.jump > agentidp.ClockSkew {
				w.inactive("issued by a clock that was ahead", w.introspect("", meanwhile))
			}
			w.wholeToken(agent)
		})
	}
}

// wholeToken gets a token from a CI that has the server's time, and asserts its times.
func (w *world) wholeToken(agent string) string {
	w.t.Helper()
	now := w.clock.Now().Unix()
	a := w.granted(exchangeBody(w.subject(nil), agent))
	token := a.str("access_token")
	c := jwtClaims(w.t, token)
	iat, nbf, exp := int64(c["iat"].(float64)), int64(c["nbf"].(float64)), int64(c["exp"].(float64))
	if iat < now || iat > now+1 || nbf != iat || exp != iat+900 || a.Body["expires_in"] != 900.0 {
		w.t.Errorf("at %d: iat %d, nbf %d, exp %d, expires_in %v", now, iat, nbf, exp, a.Body["expires_in"])
	}
	if expires, err := time.Parse(time.RFC3339, a.str("expires_at")); err != nil || expires.Unix() != exp {
		w.t.Errorf("expires_at is %s (%v), exp is %d", a.str("expires_at"), err, exp)
	}
	if a := w.introspect("", token); a.Body["active"] != true {
		w.t.Errorf("introspection: %s", a.Raw)
	}
	w.want(w.do("GET", agentsPath, w.admin(), nil), 200)
	return token
}

// a clock that goes a little wrong all the time. The server goes with it, and nothing
// is told of it that is no step; whose tokens it refuses then, and why, is the metric's of a
// clock that is suspected.
func TestR19TheClockDrifts(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	agent := w.agentWithPolicy(w.admin())
	now, monotonic := w.clock.Now(), time.Now()
	var used []map[string]any
	for range 60 { // in an hour it is ten minutes ahead
		w.clock.advance(70 * time.Second)
		now, monotonic = now.Add(70*time.Second), monotonic.Add(time.Minute)
		w.app.tellStep(now, monotonic)
		body := exchangeBody(w.subject(nil), agent)
		w.granted(body)
		used = append(used, body)
	}
	if strings.Contains(w.logs.String(), "the clock was set") {
		t.Error("drifting is told as a step")
	}
	for _, body := range used {
		if a := w.exchange(body); a.Status != 401 {
			t.Fatalf("a used token: %d", a.Status)
		}
	}
}
