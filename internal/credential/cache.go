package credential

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/jose"
	"github.com/sentryagent/agentidp/internal/limit"
	"github.com/sentryagent/agentidp/internal/store"
)

// cache remembers credentials and agents, for speed alone: what is granted is compared
// in the commit, and no refusal rests on it. It is filled on demand and bounded, and
// what is not in the database takes no room, so that strangers cannot empty it: each of
// their requests costs one look at an index, as long as the door lets them in.
type cache struct {
	credentials *limit.Cache[[2]string, *agentidp.Credential]
	signers     *limit.Cache[[2]string, []signer] // by agent
	agents      *limit.Cache[[2]string, *agentidp.Agent]
}

// signer is a credential with its keys as they were parsed.
type signer struct {
	*agentidp.Credential
	keys []*jose.Key
}

const (
	cacheSize = 10_000
	// maxSigners bounds the keys of one agent that are looked at: more than it can
	// have at once, so that some of what ended is known for what it was.
	maxSigners = 40
)

func newCache() *cache {
	return &cache{
		credentials: limit.NewCache[[2]string, *agentidp.Credential](cacheSize),
		signers:     limit.NewCache[[2]string, []signer](cacheSize),
		agents:      limit.NewCache[[2]string, *agentidp.Agent](cacheSize),
	}
}

// credential returns a credential, nil where there is none, and whether that is how it
// stands in the database now. The revision alone is read first: for what is remembered and
// for what there is not that is all, so that neither takes longer than the other.
func (c *cache) credential(ctx context.Context, db *store.DB, orgID, id string, fresh bool) (*agentidp.Credential, bool, error) {
	key := [2]string{orgID, id}
	cred, known := c.credentials.Get(key)
	if known && !fresh {
		return cred, false, nil
	}
	revision, err := db.CredentialRevision(ctx, orgID, id)
	if err == nil && known && revision == cred.Revision {
		return cred, true, nil
	}
	if err == nil {
		cred, err = db.Credential(ctx, orgID, id)
	}
	if errors.Is(err, store.ErrNotFound) {
		c.credentials.Drop(key)
		return nil, true, nil
	}
	if err != nil {
		return nil, false, err
	}
	c.credentials.Put(key, cred)
	return cred, true, nil
}

// knownSigners returns the public keys of an agent that are remembered, ended ones too.
func (c *cache) knownSigners(orgID, agentID string) []signer {
	known, _ := c.signers.Get([2]string{orgID, agentID})
	return known
}

// signersOf returns the public keys of an agent as they stand in the database now, ended
// ones too. As in credential, versions are read first, and what is remembered is neither
// read nor parsed again.
func (c *cache) signersOf(ctx context.Context, db *store.DB, orgID, agentID string, now time.Time) ([]signer, error) {
	key := [2]string{orgID, agentID}
	versions, err := db.KeyCredentialVersions(ctx, orgID, agentID, maxSigners)
	if err != nil {
		return nil, err
	}
	if len(versions) == 0 {
		c.signers.Drop(key)
		return nil, nil
	}
	if known := c.knownSigners(orgID, agentID); areVersions(known, versions) {
		return known, nil
	}
	rows, err := db.KeyCredentials(ctx, orgID, agentID, now, maxSigners)
	if err != nil {
		return nil, err
	}
	found := make([]signer, 0, len(rows))
	for i := range rows {
		keys, err := jose.ParseJWKS(rows[i].JWKS, Algorithms)
		if err != nil { // it was parsed when it was registered
			return nil, err
		}
		found = append(found, signer{&rows[i], keys})
	}
	c.signers.Put(key, found)
	return found, nil
}

// areVersions reports whether keys are those of these versions, in whatever order.
func areVersions(known []signer, versions []store.CredentialVersion) bool {
	return len(known) == len(versions) && !slices.ContainsFunc(versions, func(v store.CredentialVersion) bool {
		c := byID(known, v.ID)
		return c == nil || c.Revision != v.Revision
	})
}

// agent returns an agent that has a credential.
func (c *cache) agent(ctx context.Context, db *store.DB, orgID, id string, fresh bool) (*agentidp.Agent, error) {
	key := [2]string{orgID, id}
	if !fresh {
		if agent, ok := c.agents.Get(key); ok {
			return agent, nil
		}
	}
	agent, err := db.Agent(ctx, orgID, id)
	if err != nil {
		return nil, err
	}
	c.agents.Put(key, agent)
	return agent, nil
}
