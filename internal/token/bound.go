package token

import (
	"context"
	"errors"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/store"
)

// bound says whether a token is presented as its record has it: by the scheme DPoP with
// a proof by its key where it is bound to one (RFC 9449 §7.1), and as a bearer token
// where it is not. What the token claims of itself does not count.
func bound(rec *agentidp.AccessToken, proof *agentidp.Proof) error {
	switch {
	case rec.KeyThumbprint == "" && proof == nil:
		return nil
	case rec.KeyThumbprint == "":
		return invalid("It is bound to no key: present it as Authorization: Bearer.")
	case proof == nil:
		return byKey(invalid("It is bound to a key: present it as Authorization: DPoP, with a proof by that key in the header DPoP (RFC 9449)."))
	case proof.Thumbprint != rec.KeyThumbprint:
		return byKey(invalid("The DPoP proof is by another key than the one that it is bound to."))
	}
	return nil
}

// useProof uses up the proof that came with a good token.
func (t *Tokens) useProof(ctx context.Context, rec *agentidp.AccessToken, proof *agentidp.Proof) error {
	err := t.db.UseProof(ctx, rec.OrganizationID, proof)
	switch {
	case errors.Is(err, store.ErrReplayed):
		e := byKey(agentidp.UsedProof())
		e.Kind = agentidp.Unauthenticated
		return e
	case err != nil:
		return unavailable(err)
	}
	return nil
}

// byKey is an error about a token that must be presented with a proof.
func byKey(err *agentidp.Error) *agentidp.Error {
	e := *err
	e.Scheme = agentidp.SchemeDPoP
	return &e
}
