package app

import (
	"fmt"
	"testing"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/config"
)

// a thousand addresses that try a token each, and some more: no address comes to its
// limit, and there is none of all together, with which strangers could lock everybody out.
// Whoever is honest is answered throughout, and the operator sees that somebody guesses.
func TestA210WrongBearersFromAThousandAddresses(t *testing.T) {
	t.Parallel()
	w := newWorld(t, usualLimits(t), watched)
	w.clock.freeze()
	admin := w.admin()
	const addresses, each = 1000, 5
	for i := range addresses * each {
		address := fmt.Sprintf("198.18.%d.%d", i%addresses/250, i%250)
		if a := w.from(address, fmt.Sprintf("wrong%d", i), ""); a.Code != 401 {
			t.Fatalf("%s: %d %s", address, a.Code, a.Body)
		}
		if i%100 == 0 {
			if a := w.from(address, admin, ""); a.Code != 200 {
				t.Fatalf("a good token from %s: %d", address, a.Code)
			}
		}
	}
	w.counts(map[string]string{`agentidp_requests_unproven_total`: fmt.Sprint(addresses * each)})
}

// an address that is locked out is seen in the metrics, with why.
func TestA210WhoIsTurnedAwayIsCounted(t *testing.T) {
	t.Parallel()
	w := newWorld(t, watched, func(c *config.Config) { c.AddressFailuresPerMinute = 3 })
	w.clock.freeze()
	for range 5 {
		w.do("GET", agentsPath, "wrong", nil)
	}
	w.want(w.do("GET", agentsPath, w.admin(), nil, "Origin", "https://evil.example"), 403, agentidp.CodeCrossSiteRequest)
	w.counts(map[string]string{
		`agentidp_requests_unproven_total`:                               "3",
		`agentidp_requests_turned_away_total{code="rate_limited"}`:       "2",
		`agentidp_requests_turned_away_total{code="cross_site_request"}`: "1",
	})
}
