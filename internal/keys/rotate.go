package keys

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/store"
)

// List returns all keys that an organization ever had, the oldest first, as they
// are in the database now.
func (r *Ring) List(ctx context.Context, org *agentidp.Organization) ([]agentidp.SigningKey, error) {
	rows, err := r.db.SigningKeys(ctx, org.ID)
	if err != nil {
		return nil, err
	}
	return describe(rows, r.alg, r.clock()), nil
}

// Rotate gives the key that signs a successor. The successor is published at once
// and signs after Lead; the old key signs until then and stays in the key set until
// every token that it signed has expired. So no relying party that honours the key
// set's Cache-Control meets a key that it does not know. While a successor waits for
// its turn, nothing is changed. Where no key signs yet, the new one does at once.
func (r *Ring) Rotate(ctx context.Context, org *agentidp.Organization) (*agentidp.KeyRotation, error) {
	key, err := r.Prepare(org.ID)
	if err != nil {
		return nil, err
	}
	return r.change(ctx, org, agentidp.ActorOperator, func(c *change) (bool, error) {
		if c.pending() != nil {
			return false, nil
		}
		if c.signing() == nil {
			return true, c.add(ctx, key, time.Time{})
		}
		return true, c.succeed(ctx, key)
	})
}

// RotateDue is Rotate for a key that has signed for a period or longer. nil: none has.
// Of several nodes that ask, one makes the successor, whatever their clocks: it waits
// for its turn when the others look again, under the organization's lock.
func (r *Ring) RotateDue(ctx context.Context, org *agentidp.Organization, period time.Duration) (*agentidp.KeyRotation, error) {
	due := func(rows []store.SigningKey) bool {
		now := r.clock()
		k := signing(rows, r.alg, now)
		return k != nil && pending(rows, r.alg, now) == nil && !now.Before(signsSince(k).Add(period))
	}
	rows, err := r.db.SigningKeys(ctx, org.ID)
	if err != nil || !due(rows) {
		return nil, err
	}
	key, err := r.Prepare(org.ID)
	if err != nil {
		return nil, err
	}
	return r.change(ctx, org, agentidp.ActorSystem, func(c *change) (bool, error) {
		if !due(c.rows) {
			return false, nil
		}
		return true, c.succeed(ctx, key)
	})
}

// signsSince is when a key's turn began.
func signsSince(k *store.SigningKey) time.Time {
	if k.SignsFrom.IsZero() {
		return k.CreatedAt
	}
	return k.SignsFrom
}

// Compromised gives a key up. When it returns, the key is in no key set that a node
// hands out, no node accepts a token that it signed, and nothing is issued that it
// signed, also by exchanges that had begun; its private half is destroyed, and its
// row stays as a record. If it was the one that signs, the key that is published as
// its successor signs at once, or else a new one. If it was the successor, a new
// successor waits for its turn.
//
// Error: Invalid for a key that is not the organization's.
func (r *Ring) Compromised(ctx context.Context, org *agentidp.Organization, kid string) (*agentidp.KeyRotation, error) {
	key, err := r.Prepare(org.ID)
	if err != nil {
		return nil, err
	}
	return r.change(ctx, org, agentidp.ActorOperator, func(c *change) (bool, error) {
		i := slices.IndexFunc(c.rows, func(k store.SigningKey) bool { return k.KeyID == kid })
		if i < 0 {
			return false, unknownKey(c.rows, kid)
		}
		if !c.rows[i].CompromisedAt.IsZero() {
			return false, nil
		}
		if err := c.giveUp(ctx, &c.rows[i]); err != nil {
			return false, err
		}
		signer, next := c.signing(), c.pending()
		switch {
		case signer == nil && next != nil:
			next.SignsFrom = time.Time{}
			return true, c.tx.UpdateSigningKey(ctx, next)
		case signer == nil:
			return true, c.add(ctx, key, time.Time{})
		case next == nil && !signer.SignsUntil.IsZero():
			return true, c.succeed(ctx, key)
		}
		return true, nil
	})
}

func unknownKey(rows []store.SigningKey, kid string) error {
	ids := make([]string, len(rows))
	for i := range rows {
		ids[i] = rows[i].KeyID
	}
	return agentidp.InvalidFields(agentidp.FieldError{
		Field: "compromised", Reason: fmt.Sprintf("%q is no key of this organization; its keys are %s", kid, strings.Join(ids, ", ")),
	})
}

// change is a transaction that alone may change an organization's keys.
type change struct {
	tx    *store.Tx
	org   *agentidp.Organization
	rows  []store.SigningKey
	alg   string
	now   time.Time
	actor string
}

func (r *Ring) begin(ctx context.Context, tx *store.Tx, orgID string) (*change, error) {
	org, err := tx.LockOrganization(ctx, orgID)
	if err != nil {
		return nil, err
	}
	rows, err := tx.SigningKeys(ctx, orgID)
	if err != nil {
		return nil, err
	}
	return &change{tx: tx, org: org, rows: rows, alg: r.alg, now: r.clock()}, nil
}

// commit raises the organization's revision: whoever read the keys before reads
// them again, and what was signed with them is not issued.
func (c *change) commit(ctx context.Context) error {
	c.org.Revision++
	return c.tx.UpdateOrganization(ctx, c.org)
}

// change runs an actor's change, and says what the keys are after it.
func (r *Ring) change(ctx context.Context, org *agentidp.Organization, actor string, fn func(*change) (changed bool, err error)) (*agentidp.KeyRotation, error) {
	out := &agentidp.KeyRotation{}
	err := r.db.Write(ctx, func(tx *store.Tx) error {
		c, err := r.begin(ctx, tx, org.ID)
		if err != nil {
			return err
		}
		c.actor = actor
		if out.Changed, err = fn(c); err != nil {
			return err
		}
		if out.Changed {
			if err := c.commit(ctx); err != nil {
				return err
			}
		}
		rows, err := tx.SigningKeys(ctx, org.ID)
		if err != nil {
			return err
		}
		out.Next = nil
		for _, k := range describe(rows, r.alg, c.now) {
			switch {
			case k.Status == agentidp.SigningKeySigning:
				out.Signing = k
			case k.Status == agentidp.SigningKeyPending && k.Algorithm == r.alg:
				out.Next = &k
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

func (c *change) signing() *store.SigningKey { return signing(c.rows, c.alg, c.now) }
func (c *change) pending() *store.SigningKey { return pending(c.rows, c.alg, c.now) }

func (c *change) add(ctx context.Context, key *NewKey, from time.Time) error {
	return key.record(ctx, c.tx, c.actor, from)
}

// succeed records a key that takes over from all that sign now, Lead from now. Keys
// of another algorithm, from before a change of settings, get their end with it.
func (c *change) succeed(ctx context.Context, key *NewKey) error {
	from := c.now.Add(Lead)
	for i := range c.rows {
		if k := &c.rows[i]; maySign(k, c.now) {
			k.SignsUntil = from
			if err := c.tx.UpdateSigningKey(ctx, k); err != nil {
				return err
			}
		}
	}
	return c.add(ctx, key, from)
}

func (c *change) giveUp(ctx context.Context, k *store.SigningKey) error {
	k.CompromisedAt, k.SealedPrivateKey = c.now, nil
	if err := c.tx.UpdateSigningKey(ctx, k); err != nil {
		return err
	}
	return c.tx.Append(ctx, keyEvent(agentidp.EventSigningKeyCompromised, k, c.now, c.actor,
		map[string]string{"kid": k.KeyID, "alg": k.Algorithm}))
}
