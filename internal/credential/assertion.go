package credential

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/jose"
	"github.com/sentryagent/agentidp/internal/strictjson"
)

// Bounds of an assertion.
const (
	maxAssertion = 8 << 10 // bytes
	claimsDepth  = 8
	// maxAssertionLife is how far ahead its exp may be.
	maxAssertionLife = 5 * time.Minute
)

// Algorithms are those with which a client may sign its assertions. Ed25519 is the other
// name of EdDSA (RFC 9864), which libraries sign by.
var Algorithms = append(slices.Clone(jose.Algorithms), "Ed25519")

// assertionTypes are the types that an assertion may say to be of: none, as RFC 7523
// knew none, a JWT's, or its own. Any other is another kind of token, such as one of our
// own access tokens or a proof of possession, and is not taken for one (RFC 8725 §3.12).
var assertionTypes = []string{"", "JWT", "client-authentication+jwt"}

// assertion is what a client signs to authenticate (RFC 7523 §3). Until its signature is
// verified nothing of it is proven, and subject says only whose keys to try.
type assertion struct {
	jws     *jose.JWS
	subject string
	claims  map[string][]byte // JSON, by exact name
}

// readClaims are the claims that are read.
var readClaims = []string{"iss", "sub", "aud", "exp", "nbf", "iat", "jti"}

func parseAssertion(compact string) (*assertion, error) {
	if len(compact) > maxAssertion {
		return nil, fmt.Errorf("the assertion is over %d bytes", maxAssertion)
	}
	jws, err := jose.Parse(compact)
	if err != nil {
		return nil, fmt.Errorf("read the assertion: %w", err)
	}
	jws.Header.Alg = jose.OneName(jws.Header.Alg)
	if !slices.Contains(assertionTypes, jws.Header.Typ) {
		return nil, errors.New("the assertion's typ is another kind of token's")
	}
	as := &assertion{jws: jws, claims: make(map[string][]byte, len(readClaims))}
	err = strictjson.Members(jws.Payload, claimsDepth, func(name string, value []byte) error {
		if slices.Contains(readClaims, name) {
			as.claims[name] = value
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read the assertion's claims: %w", err)
	}
	if as.subject = as.text("sub"); !agentidp.IsID(as.subject) {
		return nil, errors.New("the assertion's sub is no client_id")
	}
	return as, nil
}

// text returns a claim that is a JSON string, else "".
func (as *assertion) text(name string) string {
	s, err := strictjson.String(as.claims[name])
	if err != nil {
		return ""
	}
	return s
}

// instant returns a claim that is a date, and whether it is there and one.
func (as *assertion) instant(name string) (time.Time, bool) {
	seconds, ok := strictjson.Date(as.claims[name])
	if !ok {
		return time.Time{}, false
	}
	return time.Unix(seconds, 0), true
}

// check says what is wrong with an assertion whose signature is proven.
func (as *assertion) check(issuer, clientID string, now time.Time) error {
	exp, ok := as.instant("exp")
	switch {
	case as.text("iss") != as.subject:
		return refuse("iss", "must be the client_id, as sub is")
	case clientID != "" && clientID != as.subject:
		return refuse("sub", "is another client than the parameter client_id names")
	case as.text("aud") != issuer:
		// A string, and this one: draft-ietf-oauth-rfc7523bis, FAPI 2.0 §5.3.2.1. An array,
		// even of one, is where another server's URL would stand beside ours, and the
		// token endpoint's URL is what a hostile server can make a client write:
		// the client that takes endpoints from metadata, and the issuer from its user.
		return refuse("aud", "must be "+issuer+", a string and not an array, and not the token endpoint's URL")
	case !ok:
		return refuse("exp", "is required, in seconds since 1970")
	case !now.Before(exp.Add(agentidp.ClockSkew)):
		return refuse("exp", "has passed: the assertion ended at "+shown(exp)+", and this server's clock says "+shown(now))
	case exp.After(now.Add(maxAssertionLife + agentidp.ClockSkew)):
		return refuse("exp", "is too far ahead: at most "+maxAssertionLife.String()+" from now on; this server's clock says "+shown(now))
	case as.text("jti") == "":
		return refuse("jti", "is required, another one in every assertion")
	}
	for _, name := range []string{"nbf", "iat"} {
		from, ok := as.instant(name)
		if as.claims[name] != nil && (!ok || from.After(now.Add(agentidp.ClockSkew))) {
			return refuse(name, "is not an instant that has passed; this server's clock says "+shown(now))
		}
	}
	return nil
}

// notSinceRestore refuses an assertion that may have been used before the database was
// put back to an earlier state, which does not remember it. What was taken before that
// had an iat and an exp no further ahead than check lets pass. While an iat cannot prove
// to be later, the answer is "try again", as in an exchange.
func (as *assertion) notSinceRestore(restored, now time.Time) error {
	iat, _ := as.instant("iat")
	exp, _ := as.instant("exp")
	from := restored.Add(agentidp.ClockSkew)
	if restored.IsZero() || iat.After(from) || exp.After(from.Add(maxAssertionLife)) {
		return nil
	}
	if wait := from.Add(time.Second).Sub(now); iat.After(restored) && wait > 0 {
		e := agentidp.NewError(agentidp.Unavailable, agentidp.CodeTemporarilyUnavailable,
			"This server was restored from a backup at "+shown(restored)+", and does not know which assertions were used before. Try again with a fresh one after "+shown(now.Add(wait))+".")
		e.RetryAfter = wait
		return e
	}
	return refuse("iat", "does not show that it was signed since "+shown(from)+": this server was restored from a backup at "+shown(restored)+", and it may have been used before that. Sign a fresh one, with iat")
}

// until is when an assertion that passed check does so no longer.
func (as *assertion) until() time.Time {
	exp, _ := as.instant("exp")
	return exp.Add(agentidp.ClockSkew + time.Second)
}

// id is SHA-256 of the jti, which may be of any length.
func (as *assertion) id() string {
	sum := sha256.Sum256([]byte(as.text("jti")))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

func refuse(claim, why string) error {
	return invalid("The client assertion's " + claim + " " + why + ".")
}

func shown(t time.Time) string { return t.UTC().Format(time.RFC3339) }
