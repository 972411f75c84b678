package token

import (
	"time"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/limit"
)

// AgentLimit bounds how many tokens one agent is issued in a minute, by whatever grant.
// A nil *AgentLimit bounds nothing.
type AgentLimit struct {
	issued *limit.Buckets[[2]string] // by organization and agent
}

// maxAgents is how many agents' tokens are counted at once.
const maxAgents = 10_000

// NewAgentLimit returns a limit of so many; 0: there is no limit.
func NewAgentLimit(perMinute int) *AgentLimit {
	return &AgentLimit{limit.New[[2]string]("tokens-of-agent", perMinute, maxAgents)}
}

// Take counts a token that is about to be issued, once it is decided that it may be, so
// that nobody but the agent uses up what is its. It returns where the agent stands, or
// the error for one that has had too many.
func (l *AgentLimit) Take(now time.Time, orgID, agentID string) (agentidp.RateLimit, error) {
	if l == nil {
		return agentidp.RateLimit{}, nil
	}
	state, ok := l.issued.Take(now, [2]string{orgID, agentID})
	if !ok {
		return state, limit.Refusal(state, "This agent was issued too many tokens in a minute. Keep a token for as long as it is good, and try again as late as Retry-After says; whoever operates the server sets the limit (AGENTIDP_AGENT_TOKENS_PER_MINUTE).")
	}
	return state, nil
}

// Look returns where an agent stands, and counts nothing.
func (l *AgentLimit) Look(now time.Time, orgID, agentID string) agentidp.RateLimit {
	if l == nil {
		return agentidp.RateLimit{}
	}
	state, _ := l.issued.Look(now, [2]string{orgID, agentID})
	return state
}
