// Package grant is what a client gets by itself: an access token for an agent that
// authenticated with a credential of its own (RFC 6749 §4.4). It owns the order of the
// steps, the record of every decision, and the promise that no token leaves without its
// durable record.
//
// It does not own who a client is (internal/credential), what a CI's token is exchanged
// for (internal/exchange), the token's format (internal/token) or the commit
// (internal/store). It knows nothing of HTTP.
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

// maxRefused is how many agents' refusals are counted at once.
const maxRefused = 10_000

// Config is what a Granter works with.
type Config struct {
	DB      *store.DB
	Tokens  *token.Tokens
	Clients *credential.Authenticator
	// Organization reads an organization as it is now; NotFound where it is closed.
	Organization func(ctx context.Context, slug string) (*agentidp.Organization, error)
	TokenTTL     time.Duration // life of a token
	// RefusalsPerMinute bounds the recorded refusals of one agent.
	RefusalsPerMinute int
	Agents            *token.AgentLimit // shared with the exchange
	Clock             func() time.Time
}

// Granter grants access tokens to clients. It is safe for concurrent use.
type Granter struct {
	Config
	refusals *limit.Buckets[[2]string] // recorded, by organization and agent
}

// New returns a Granter.
func New(cfg Config) *Granter {
	return &Granter{Config: cfg, refusals: limit.New[[2]string]("refusals-of-agent", cfg.RefusalsPerMinute, maxRefused)}
}

func unavailable(err error) error {
	e := agentidp.NewError(agentidp.Unavailable, agentidp.CodeTemporarilyUnavailable,
		"The request could not be decided and recorded now, and no token leaves without its record. Try again.")
	e.RetryAfter = time.Second
	return e.WithCause(err)
}
