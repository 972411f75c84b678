package registry

import (
	"context"
	"fmt"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/jose"
	"github.com/sentryagent/agentidp/internal/store"
)

// checkBeside wants the keys of a new credential to take nothing from the agent's others,
// once lockClient has the agent: a key of two credentials would outlive the one that is
// deleted because the key was stolen.
func checkBeside(ctx context.Context, tx *store.Tx, c *agentidp.Credential) error {
	if c.Type != agentidp.CredentialPublicKey {
		return nil
	}
	keys, err := jose.ParseJWKS(c.JWKS, jose.Algorithms)
	if err != nil {
		return fmt.Errorf("read the keys of a credential that was checked: %w", err)
	}
	others, err := tx.KeyCredentials(ctx, c.OrganizationID, c.AgentID, c.CreatedAt, maxLiveCredentials)
	if err != nil {
		return err
	}
	var bad agentidp.FieldErrors
	for _, other := range others {
		if !other.Live(c.CreatedAt) {
			break // those that live come first
		}
		theirs, err := jose.ParseJWKS(other.JWKS, jose.Algorithms)
		if err != nil {
			return fmt.Errorf("read the keys of credential %s: %w", other.CredentialID, err)
		}
		refuseBeside(&bad, keys, theirs, other.CredentialID)
	}
	if len(bad) > 0 {
		return agentidp.InvalidFields(bad...)
	}
	return nil
}

// refuseBeside holds new keys against those of one other credential.
func refuseBeside(bad *agentidp.FieldErrors, keys, theirs []*jose.Key, other string) {
	for i, key := range keys {
		for _, their := range theirs {
			if sameKey(key, their) {
				bad.Refuse(fmt.Sprintf("jwks.keys[%d]", i), "is a key of credential "+other+" already, and would not end with it; make a new key, or delete that credential first")
			}
		}
	}
}

// sameKey reports whether two are one key, whatever they are called and sign with.
func sameKey(a, b *jose.Key) bool {
	x, errX := a.Thumbprint()
	y, errY := b.Thumbprint()
	return errX == nil && errY == nil && x == y
}
