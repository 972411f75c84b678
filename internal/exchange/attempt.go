package exchange

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/policy"
)

// attempt is one exchange whose subject token is authentic.
type attempt struct {
	*Exchanger
	org      *agentidp.Organization
	provider *agentidp.Provider
	read     bool // the provider is as it is now, not as it was remembered
	claims   *agentidp.Claims
	request  *Request
	scopes   []string
	notGood  bool // the token is, but not good here; see limitKey
	decision *agentidp.Decision
}

// decide matches the candidates. Cached rows may grant, because the commit checks
// what the grant rests on; they never deny.
func (a *attempt) decide(ctx context.Context, afresh bool) (*policy.Outcome, *agentidp.Agent, error) {
	for {
		input, candidates, read, err := a.candidates(ctx, afresh)
		if err != nil {
			return nil, nil, err
		}
		input.Provisional = !read
		outcome := policy.Match(candidates, input)
		if outcome.Granted || read {
			return &outcome, input.Agent, nil
		}
		afresh = true
	}
}

func (a *attempt) limitKey() limitKey {
	return limitKey{org: a.org.ID, provider: a.provider.Name, caller: cmp.Or(a.claims.RepositoryID, a.claims.Subject), notGood: a.notGood}
}

func (a *attempt) key() cacheKey {
	return cacheKey{org: a.org.ID, provider: a.provider.Name,
		repository: agentidp.FoldRepository(a.claims.Repository), repositoryID: a.claims.RepositoryID}
}

// candidates gathers what the decision reads, and says whether all of it was
// just read from the database. The agent is looked up only when some candidate
// names it, so that an unknown agent and an unknown repository cost the same.
func (a *attempt) candidates(ctx context.Context, mustRead bool) (*policy.Input, []*policy.Compiled, bool, error) {
	candidates, fresh, err := a.cache.policies(ctx, a.DB, a.key(), a.claims.Kind, mustRead)
	if err != nil {
		return nil, nil, false, fmt.Errorf("read candidate policies: %w", err)
	}
	input := &policy.Input{
		Claims: a.claims, AgentID: a.request.AgentID, Scopes: a.scopes, Audience: a.request.Audience,
		Organization: a.org, Now: a.Clock(), AgentTTL: a.TokenTTL, BootstrapTTL: BootstrapTTL,
	}
	named := func(c *policy.Compiled) bool { return c.Policy.AgentID == a.request.AgentID }
	if a.request.AgentID != "" && slices.ContainsFunc(candidates, named) {
		agent, read, err := a.cache.agent(ctx, a.DB, a.org.ID, a.request.AgentID, mustRead)
		if err != nil {
			return nil, nil, false, fmt.Errorf("read agent: %w", err)
		}
		input.Agent, fresh = agent, fresh && read
	}
	return input, candidates, fresh, nil
}
