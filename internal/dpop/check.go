// Package dpop checks proofs of possession (RFC 9449): that whoever sent a request has
// the private key of the public one that the proof carries. It is the only reader of a
// key that a sender chose.
//
// It does not own what a key is good for: which token is bound to it (internal/exchange),
// that a bound token is presented with its own (internal/token), and that a proof is
// good for one request (internal/store).
package dpop

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/jose"
	"github.com/sentryagent/agentidp/internal/strictjson"
)

const (
	// typ is what makes a JWT a proof (§4.2), exactly as RFC 9449 writes it.
	typ = "dpop+jwt"

	// Bounds of what a stranger may have us read.
	maxProof    = 8 << 10 // the largest key that is accepted takes about 3 KB
	maxID       = 256
	maxURL      = 2 << 10
	payloadDeep = 8
)

// Check judges the DPoP header fields of a request with this method, for this URL, in
// the order of RFC 9449 §4.3. url is the server's own account of where it is, never what
// the request says of the host. accessToken is the one that the request presents, or
// empty. It is pure: whether the proof was used before is for the caller to find out, as
// soon as it is proven who asks. Error: Invalid (invalid_dpop_proof).
func Check(proofs []string, method, url, accessToken string, now time.Time) (*agentidp.Proof, error) {
	if len(proofs) == 0 {
		return nil, agentidp.InvalidProof("there is no DPoP header")
	}
	if len(proofs) > 1 {
		return nil, agentidp.InvalidProof(fmt.Sprintf("there are %d DPoP headers; send exactly one", len(proofs)))
	}
	j, key, err := parse(proofs[0])
	if err != nil {
		return nil, err
	}
	if err := j.Verify(key); err != nil {
		return nil, agentidp.InvalidProof("its signature is not that of its jwk").WithCause(err)
	}
	c, err := readClaims(j.Payload)
	if err != nil {
		return nil, err
	}
	if err := c.check(method, url, accessToken, now); err != nil {
		return nil, err
	}
	thumbprint, err := key.Thumbprint()
	if err != nil {
		return nil, fmt.Errorf("take the thumbprint of a proof's key: %w", err)
	}
	return &agentidp.Proof{Thumbprint: thumbprint, ID: digest(c.id), Until: c.issued.Add(agentidp.ClockSkew + time.Second)}, nil
}

func parse(proof string) (*jose.JWS, *jose.Key, error) {
	if len(proof) > maxProof {
		return nil, nil, agentidp.InvalidProof(fmt.Sprintf("it is longer than %d bytes", maxProof))
	}
	j, key, err := jose.ParseProof(proof, typ, agentidp.ProofAlgorithms)
	switch {
	case err == nil:
		return j, key, nil
	case errors.Is(err, jose.ErrProofType):
		return nil, nil, agentidp.InvalidProof("typ in its header is not " + typ).WithCause(err)
	case errors.Is(err, jose.ErrProofAlgorithm):
		return nil, nil, agentidp.InvalidProof("alg in its header is none of " + strings.Join(agentidp.ProofAlgorithms, " ")).WithCause(err)
	case errors.Is(err, jose.ErrProofKey):
		return nil, nil, agentidp.InvalidProof("jwk in its header must be one public key of the kind that alg needs, without private members, an RSA key of 2048 bits at least").WithCause(err)
	}
	return nil, nil, agentidp.InvalidProof("it is not a JWS in compact form whose header has alg, typ and jwk, and nothing that would change how it is read").WithCause(err)
}

// claims are those of a proof (§4.2); an absent string is empty. Others, nonce among
// them, are not read.
type claims struct {
	method, url, id, tokenHash string
	issued                     time.Time
}

func readClaims(payload []byte) (*claims, error) {
	c := &claims{}
	texts := map[string]*string{"htm": &c.method, "htu": &c.url, "jti": &c.id, "ath": &c.tokenHash}
	err := strictjson.Members(payload, payloadDeep, func(name string, value []byte) (err error) {
		if name == "iat" {
			seconds, ok := strictjson.Date(value)
			if !ok {
				return agentidp.InvalidProof("iat is not a number of seconds since 1970")
			}
			c.issued = time.Unix(seconds, 0).UTC()
			return nil
		}
		text := texts[name]
		if text == nil {
			return nil
		}
		if *text, err = strictjson.String(value); err != nil {
			return agentidp.InvalidProof(name + " is not a string")
		}
		return nil
	})
	if _, ours := errors.AsType[*agentidp.Error](err); ours {
		return nil, err
	}
	if err != nil {
		return nil, agentidp.InvalidProof("its payload is not acceptable JSON").WithCause(err)
	}
	return c, nil
}

func (c *claims) check(method, url, accessToken string, now time.Time) error {
	switch {
	case c.method != method:
		return agentidp.InvalidProof("htm is not " + method + ", which is the method of this request")
	case !sameURL(c.url, url):
		return agentidp.InvalidProof("htu is not " + url + ", which is the URL of this request")
	case c.issued.IsZero():
		return agentidp.InvalidProof("iat is missing: the time at which the proof was made, in seconds since 1970")
	case now.Sub(c.issued).Abs() > agentidp.ClockSkew:
		return agentidp.InvalidProof(fmt.Sprintf("iat is %s, and this server's clock says %s: more than %s apart; make a fresh proof for each request, and set the clock",
			c.issued.Format(time.RFC3339), now.UTC().Format(time.RFC3339), agentidp.ClockSkew))
	case c.id == "" || len(c.id) > maxID:
		return agentidp.InvalidProof(fmt.Sprintf("jti is not a string of 1 to %d bytes; make one up at random for each proof", maxID))
	case accessToken != "" && subtle.ConstantTimeCompare([]byte(c.tokenHash), []byte(digest(accessToken))) == 0:
		return agentidp.InvalidProof("ath is not the SHA-256 of the access token that the request presents, in base64url")
	}
	return nil
}

// digest is how RFC 9449 §4.2 has a token in ath, and how the id of a proof is kept.
func digest(s string) string {
	sum := sha256.Sum256([]byte(s))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}
