package registry

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/jose"
)

// maxCredentialKeys bounds the keys of one credential: one that signs, one that is about
// to, and some for other machines.
const maxCredentialKeys = 10

// CheckCredential returns what is wrong with a credential in itself: one error for
// every bad field.
func (r *Registry) CheckCredential(spec agentidp.CredentialSpec) []agentidp.FieldError {
	var bad agentidp.FieldErrors
	if spec.Type == "" {
		bad.Refuse("type", "is required: secret or public_key")
	}
	agentidp.OneOf(&bad, "type", spec.Type, agentidp.CredentialSecret, agentidp.CredentialPublicKey)
	if !isText(spec.Description, maxText) {
		bad.Refuse("description", fmt.Sprintf("must be text of at most %d characters without control characters", maxText))
	}
	if at, now := spec.ExpiresAt, r.Clock(); at != nil {
		switch {
		case !at.Truncate(time.Microsecond).After(now): // as it is stored
			bad.Refuse("expiresAt", "must be in the future; it is now "+now.UTC().Format(time.RFC3339))
		case at.UTC().Year() > 9999: // RFC 3339 has no such year
			bad.Refuse("expiresAt", "is beyond the year 9999; leave it out for a credential that does not expire")
		}
	}
	checkBound(&bad, spec.Scopes)
	jwks := compact(spec.JWKS)
	switch {
	case spec.Type == agentidp.CredentialPublicKey && jwks == nil:
		bad.Refuse("jwks", "is required for public_key; give the agent's public keys as a JWK set (RFC 7517)")
	case spec.Type == agentidp.CredentialPublicKey:
		checkPublicKeys(&bad, jwks)
	case jwks != nil:
		bad.Refuse("jwks", "is for credentials of type public_key; leave it out, and the server makes a secret")
	}
	return bad
}

// checkPublicKeys wants every key of the set to be of use: whoever registers one that is
// passed over would learn it when the agent is refused.
func checkPublicKeys(bad *agentidp.FieldErrors, jwks []byte) {
	if private := privateMembers(jwks); private != "" {
		bad.Refuse("jwks", "has "+private+", which is private or symmetric: whoever sees it can be the agent. Give public keys alone, and replace the key that was shown here")
		return
	}
	entries, err := jose.InspectJWKS(jwks, jose.Algorithms)
	if err != nil {
		bad.Refuse("jwks", "is not a JWK set, {\"keys\": [...]} (RFC 7517): "+err.Error())
		return
	}
	if n := len(entries); n < 1 || n > maxCredentialKeys {
		bad.Refuse("jwks", fmt.Sprintf("has %d keys; give 1 to %d", n, maxCredentialKeys))
		return
	}
	for i, e := range entries {
		field := fmt.Sprintf("jwks.keys[%d]", i)
		switch {
		case e.Err != nil:
			bad.Refuse(field, "cannot verify signatures: "+e.Err.Error()+". The algorithms are "+strings.Join(jose.Algorithms, ", "))
		case e.Key.ID == "" && len(entries) > 1:
			bad.Refuse(field, "has no kid, which tells several keys apart; give each one of its own")
		}
	}
}

// publicKeys returns the keys of a set that was checked, of each what makes it a public
// key and its name: what else somebody put into the set is not for us to keep. Of no set
// there is none.
func publicKeys(jwks json.RawMessage) json.RawMessage {
	entries, err := jose.InspectJWKS(compact(jwks), jose.Algorithms)
	if err != nil {
		return nil
	}
	keys := make([]json.RawMessage, 0, len(entries))
	for _, e := range entries {
		if key, err := e.Key.JWK(); err == nil {
			keys = append(keys, key)
		}
	}
	set, _ := json.Marshal(map[string]any{"keys": keys}) // of JSON there is nothing to fail
	return set
}

// checkGrace returns what is wrong with the time for which a secret that was replaced
// still works.
func checkGrace(grace time.Duration) []agentidp.FieldError {
	if grace >= 0 && grace <= maxGrace {
		return nil
	}
	return []agentidp.FieldError{{Field: "graceSeconds", Reason: fmt.Sprintf("must be from 0 to %d, which is 30 days", int(maxGrace/time.Second))}}
}
