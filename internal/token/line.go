package token

import (
	"context"
	"errors"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/store"
)

// MaxDepth is how many exchanges for another access token may lie behind a token (RFC
// 8693). It bounds what judging one reads, and how far authority can be handed on.
const MaxDepth = 4

// Presented is an access token that is presented to be exchanged for another (RFC
// 8693), and is good now.
type Presented struct {
	*agentidp.AccessToken // as recorded

	// What it says beside its record.
	AgentName string
	Workload  *agentidp.Workload
	Actor     *agentidp.Actor // who acts for its subject; nil: nobody
}

// Subject judges an access token that is presented to be exchanged, whatever its kind
// and audience. Having it is all that is asked for here: where it is bound to a key
// (KeyThumbprint), its proof is for the caller to demand. Errors: Unauthenticated
// (invalid_token), Unavailable.
func (t *Tokens) Subject(ctx context.Context, org *agentidp.Organization, presented string) (*Presented, error) {
	c, rec, err := t.judge(ctx, org, presented)
	if err != nil {
		return nil, err
	}
	return &Presented{AccessToken: rec, AgentName: c.AgentName, Workload: c.Workload, Actor: c.Actor}, nil
}

// lineStands checks what a token that was got for another rests on beside its agent:
// that none of those that it came from was revoked, and that whoever acts with it, or
// with one of them, is active. None of them can have expired, because none outlives the
// one that it came from; so their records are there as long as its own is.
func (t *Tokens) lineStands(ctx context.Context, rec *agentidp.AccessToken) error {
	for actor := ""; ; {
		if rec.ActorID != actor && rec.ActorID != "" {
			actor = rec.ActorID
			if err := t.active(ctx, rec.OrganizationID, actor, "The agent that acts for its agent is not active."); err != nil {
				return err
			}
		}
		if rec.ParentID == "" {
			return nil
		}
		parent, err := t.db.Token(ctx, rec.OrganizationID, rec.ParentID)
		switch {
		case errors.Is(err, store.ErrNotFound):
			return invalid("There is no record of the token that it was got for.")
		case err != nil:
			return unavailable(err)
		case !parent.RevokedAt.IsZero():
			return invalid("A token that it was got for was revoked.")
		}
		rec = parent
	}
}
