package exchange

import (
	"encoding/json"
	"slices"
	"strconv"

	"github.com/sentryagent/agentidp"
)

// Bounds of the claims that are kept with one decision, in bytes. The caller chooses some
// of them, and what is stored for an exchange must stay small.
const (
	maxRecordedClaim = 2 << 10
	maxRecorded      = 8 << 10
	usuallyRecorded  = 1 << 10
)

// recorded returns the claims of the subject token that are kept with a decision of
// policies about it: a JSON object by the provider's names, with each value as the token
// spells it; nil where none are kept. A claim beyond the bounds is left out whole.
func (a *attempt) recorded() json.RawMessage {
	if !a.KeepClaims || a.claims.Kind == nil {
		return nil
	}
	usual := a.claims.Kind.RecordedClaims
	object := make([]byte, 0, usuallyRecorded)
	for _, name := range usual {
		object = appendClaim(object, a.claims, name)
	}
	for _, name := range a.RecordClaims[a.provider.Name] {
		if !slices.Contains(usual, name) {
			object = appendClaim(object, a.claims, name)
		}
	}
	if len(object) == 0 {
		return nil
	}
	object[0] = '{' // of the comma before the first
	return append(object, '}')
}

// appendClaim appends a member of an object, after a comma, if the token has the claim
// and there is room for it. What strconv quotes is JSON, because all names are printable:
// those of kinds are, and the configuration refuses others.
func appendClaim(object []byte, claims *agentidp.Claims, name string) []byte {
	value := claims.ReadJSON(name)
	if len(value) == 0 || len(value) > maxRecordedClaim || len(object)+len(name)+len(value) > maxRecorded {
		return object
	}
	object = append(object, ',')
	object = strconv.AppendQuote(object, name)
	object = append(object, ':')
	return append(object, value...)
}
