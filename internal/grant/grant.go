// Package grant is what a client gets by itself, without a CI: a token for its own
// credential (RFC 6749 §4.4), and a token for another of its tokens (RFC 8693). It owns
// the order of the steps and the record of every decision.
//
// It does not own who a client is (internal/credential), the token's format
// (internal/token) or the commit (internal/store). It knows nothing of HTTP.
package grant

import (
	"context"
	"log/slog"
	"time"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/limit"
	"github.com/sentryagent/agentidp/internal/store"
	"github.com/sentryagent/agentidp/internal/token"
)

// maxRounds bounds how often a grant starts again because something that it rested on
// changed under it.
const maxRounds = 3

// Config is what a Granter works with.
type Config struct {
	DB     *store.DB
	Tokens *token.Tokens
	// Organization reads an organization as it is now; NotFound where it is closed.
	Organization func(ctx context.Context, slug string) (*agentidp.Organization, error)
	// RefusalsPerMinute bounds the recorded refusals of one agent.
	RefusalsPerMinute int
	// TokensPerMinute bounds the tokens of one agent; 0: no limit.
	TokensPerMinute int
	Clock           func() time.Time
	Logger          *slog.Logger
}

// Granter issues tokens to clients. It is safe for concurrent use.
type Granter struct {
	Config
	tokens   *limit.Buckets[agentKey]
	refusals *limit.Buckets[agentKey]
}

type agentKey struct{ org, agent string }

const maxAgents = 10_000

// New returns a Granter.
func New(cfg Config) *Granter {
	return &Granter{
		Config:   cfg,
		tokens:   limit.New[agentKey]("tokens-of-agent", cfg.TokensPerMinute, maxAgents),
		refusals: limit.New[agentKey]("refusals-of-agent", cfg.RefusalsPerMinute, maxAgents),
	}
}
