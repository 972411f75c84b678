// Package grant is what a client gets by itself, without a CI: a token for its own
// credential (RFC 6749 §4.4), and a token for another of its tokens (RFC 8693). It owns
// the order of the steps, the record of every decision, and the promise that no token
// leaves without its durable record.
//
// It does not own who a client is (internal/credential), the token's format
// (internal/token) or the commit (internal/store). It knows nothing of HTTP.
package grant

import (
	"context"
	"time"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/credential"
	"github.com/sentryagent/agentidp/internal/limit"
	"github.com/sentryagent/agentidp/internal/store"
	"github.com/sentryagent/agentidp/internal/token"
)

// maxRounds bounds how often a grant starts again because something that it rested on
// changed under it.
const maxRounds = 3

// Config is what a Granter works with.
type Config struct {
	DB      *store.DB
	Tokens  *token.Tokens
	Clients *credential.Authenticator
	// Organization reads an organization as it is now; NotFound where it is closed.
	Organization func(ctx context.Context, slug string) (*agentidp.Organization, error)
	TokenTTL     time.Duration // life of a token that a client gets for its credential
	// RefusalsPerMinute bounds the recorded refusals of one agent.
	RefusalsPerMinute int
	Agents            *token.AgentLimit // of the tokens of an agent; the exchange has it, too
	Clock             func() time.Time
}

// Granter issues tokens to clients. It is safe for concurrent use.
type Granter struct {
	Config
	refusals *limit.Buckets[agentKey] // recorded
}

type agentKey struct{ org, agent string }

const maxAgents = 10_000

// New returns a Granter.
func New(cfg Config) *Granter {
	return &Granter{Config: cfg, refusals: limit.New[agentKey]("refusals-of-agent", cfg.RefusalsPerMinute, maxAgents)}
}

// refused counts a refusal that is to be recorded, against whoever it is told. It returns
// nil, or the error for one that has had too many, which costs no write.
func (g *Granter) refused(orgID, agentID string) error {
	state, ok := g.refusals.Take(g.Clock(), agentKey{orgID, agentID})
	if ok {
		return nil
	}
	return limit.Refusal(state, "Tokens were refused too often to this agent. The answers before this one say why; mend that, and try again later.")
}
