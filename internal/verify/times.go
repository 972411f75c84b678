package verify

import (
	"cmp"
	"errors"
	"fmt"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/strictjson"
)

// Skew is how far apart the issuer's clock and ours may be.
const Skew = agentidp.ClockSkew

// dates are in seconds since 1970, as in the token. nbf is iat where the token has
// none: it is optional.
type dates struct{ iat, exp, nbf int64 }

// checkTimes requires exp and iat, heeds nbf, and sets IssuedAt and ExpiresAt. With
// s the Skew:
//
//	exp <= iat, or nbf >= exp        claim_invalid: such a token is never valid
//	exp - iat > maximum              token_too_old: it lives longer than any may
//	now >= exp + s                   token_expired: exp is exclusive (RFC 7519 §4.1.4)
//	nbf > now + s, or iat > now + s  token_not_yet_valid
//
// Together they bound the age of a token, now - iat, to the maximum and the Skew.
func checkTimes(now time.Time, p *agentidp.Provider, k *kind, u *Unverified, c *agentidp.Claims) error {
	d, bad := readDates(u)
	if bad != nil {
		return claimInvalid(bad)
	}
	c.IssuedAt, c.ExpiresAt = time.Unix(d.iat, 0).UTC(), time.Unix(d.exp, 0).UTC()
	return d.check(now, p, k.longest(p))
}

// longest is how long a token of a provider may live.
func (k *kind) longest(p *agentidp.Provider) time.Duration {
	return cmp.Or(p.MaxTokenAge, k.MaxTokenAge)
}

func (d *dates) check(now time.Time, p *agentidp.Provider, longest time.Duration) error {
	expires := time.Unix(d.exp, 0).UTC()
	starts := time.Unix(max(d.nbf, d.iat), 0).UTC()
	switch {
	case d.exp <= d.iat:
		return claimInvalid([]agentidp.FieldError{{Field: "exp", Reason: "is not later than iat"}})
	case d.nbf >= d.exp:
		return claimInvalid([]agentidp.FieldError{{Field: "nbf", Reason: "is not earlier than exp"}})
	case d.exp-d.iat > int64(longest/time.Second):
		return proven(agentidp.ReasonTokenTooOld, fmt.Sprintf(
			"The subject token lives %d seconds; provider %s admits %d at most. Request an ID token with a shorter life.",
			d.exp-d.iat, p.Name, int64(longest/time.Second)), d.claims())
	case !now.Before(expires.Add(Skew)):
		return proven(agentidp.ReasonTokenExpired, fmt.Sprintf(
			"The subject token expired at %s; this server's clock says %s. Request a fresh ID token for each exchange.",
			expires.Format(time.RFC3339), now.UTC().Format(time.RFC3339)), d.claims())
	case starts.After(now.Add(Skew)):
		return proven(agentidp.ReasonTokenNotYetValid, fmt.Sprintf(
			"The subject token is valid from %s; this server's clock says %s. Set the clock that is wrong, or try again then.",
			starts.Format(time.RFC3339), now.UTC().Format(time.RFC3339)), d.claims())
	}
	return nil
}

// justExpired is how long ago a token has expired that makes a clock suspect. One that
// is older was kept for long by whoever sends it.
const justExpired = 15 * time.Minute

// suspicion counts the signs that a clock is wrong: the issuer's, or ours.
type suspicion struct{ slow, fast atomic.Uint64 } // as if ours were

// heed counts the refusal of an authentic token for its times.
func (s *suspicion) heed(now time.Time, c *agentidp.Claims, err error) {
	if err == nil {
		return
	}
	switch agentidp.AsError(err).Reason {
	case agentidp.ReasonTokenNotYetValid:
		s.slow.Add(1)
	case agentidp.ReasonTokenExpired:
		if now.Sub(c.ExpiresAt) < justExpired {
			s.fast.Add(1)
		}
	}
}

func readDates(u *Unverified) (d dates, bad []agentidp.FieldError) {
	read := func(name string) int64 {
		n, err := date(u.member(name))
		if err != nil {
			bad = append(bad, agentidp.FieldError{Field: name, Reason: err.Error()})
		}
		return n
	}
	d.exp, d.iat = read("exp"), read("iat")
	d.nbf = d.iat
	if u.member("nbf") != nil {
		d.nbf = read("nbf")
	}
	return d, bad
}

var (
	errNoDate  = errors.New("is missing")
	errBadDate = errors.New("is not a number of seconds since 1970")
)

func date(value []byte) (int64, error) {
	if value == nil {
		return 0, errNoDate
	}
	seconds, ok := strictjson.Date(value)
	if !ok {
		return 0, errBadDate
	}
	return seconds, nil
}

// claims gives the dates as they are shown to the caller.
func (d *dates) claims() map[string]string {
	m := map[string]string{"exp": strconv.FormatInt(d.exp, 10), "iat": strconv.FormatInt(d.iat, 10)}
	if d.nbf != d.iat {
		m["nbf"] = strconv.FormatInt(d.nbf, 10)
	}
	return m
}
