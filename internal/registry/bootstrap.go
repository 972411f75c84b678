package registry

import (
	"context"
	"errors"
	"fmt"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/policy"
	"github.com/sentryagent/agentidp/internal/store"
)

// RegisterAgent registers an agent on behalf of a bootstrap token. It is
// idempotent for the repository that registered the agent: the same name from
// the same (issuer, repository id), or of a provider without repositories the same
// (issuer, subject), returns the existing agent, unchanged, with created false. spec holds name, description, agentType and version alone; the
// edge refused anything else.
//
// The token's policy is read again in the same transaction, so a policy that was
// deleted or narrowed a moment ago registers nothing. Where it says
// trustRegisteredAgents, a new agent and its policy are there together or not at
// all.
//
// Errors: Unauthenticated when the policy is gone, Denied (agent_limit_reached,
// agent_name_not_permitted), Conflict (agent_name_taken, agent_decommissioned,
// policy_limit_reached), Invalid, Unavailable.
func (r *Registry) RegisterAgent(ctx context.Context, org *agentidp.Organization, c *Caller, spec agentidp.AgentSpec) (agent *agentidp.Agent, created bool, err error) {
	normalizeAgent(&spec)
	if bad := validateAgent(&spec); len(bad) > 0 {
		return nil, false, agentidp.InvalidFields(bad...)
	}
	err = r.DB.Write(ctx, func(tx *store.Tx) error {
		agent, created = nil, false
		p, err := r.bootstrapPolicy(ctx, tx, org, c)
		if err != nil {
			return err
		}
		by, err := r.registeredBy(ctx, tx, org, c)
		if err != nil {
			return err
		}
		agent, err = tx.AgentByName(ctx, org.ID, spec.Name)
		if err == nil {
			return r.sameOrigin(agent, by)
		}
		if !errors.Is(err, store.ErrNotFound) {
			return err
		}
		if err := withinPolicy(ctx, tx, p, spec.Name); err != nil {
			return err
		}
		agent, created = r.newAgent(org, spec, *by), true
		err = tx.CreateAgent(ctx, agent)
		if errors.Is(err, store.ErrExists) { // another registration got in between, perhaps of this repository by another policy
			if agent, err = tx.AgentByName(ctx, org.ID, spec.Name); err == nil {
				created, err = false, r.sameOrigin(agent, by)
			}
			return err
		}
		if err != nil {
			return err
		}
		if err := tx.Append(ctx, r.agentEvent(c, agentidp.EventAgentRegistered, agent)); err != nil || !p.TrustRegisteredAgents {
			return err
		}
		return r.trust(ctx, tx, org, c, p, agent)
	})
	if err != nil {
		return nil, false, public(err, "agent")
	}
	return agent, created, nil
}

// trust creates the policy of an agent that was just registered under bootstrap.
// There is none with the same effect: nobody knew the agent's id before.
func (r *Registry) trust(ctx context.Context, tx *store.Tx, org *agentidp.Organization, c *Caller, bootstrap *agentidp.TrustPolicy, agent *agentidp.Agent) error {
	p := r.newPolicy(org, c, policyOf(agent, bootstrap))
	if err := checkRoom(ctx, tx, p); err != nil {
		return err
	}
	if err := tx.CreatePolicy(ctx, p, policy.Fingerprint(&p.TrustPolicySpec)); err != nil {
		return err
	}
	return tx.Append(ctx, r.policyEvent(c, agentidp.EventPolicyCreated, p))
}

// policyOf returns what a bootstrap policy says, said of one agent. It takes all
// of it, so that a condition cannot be forgotten, and then leaves out what is about
// bootstrap tokens and registration.
func policyOf(agent *agentidp.Agent, bootstrap *agentidp.TrustPolicy) agentidp.TrustPolicySpec {
	spec := bootstrap.TrustPolicySpec
	spec.AgentID = agent.AgentID
	spec.Description = "Created with the agent " + agent.Name + " by the bootstrap policy " + bootstrap.ID + "."
	spec.TrustRegisteredAgents, spec.TokenTTLSeconds, spec.MaxAgents, spec.AgentNamePattern = false, 0, 0, ""
	return spec
}

// registeredBy says who a bootstrap token is. The token names its provider alone; whose
// name that is cannot have changed since, because the policy that granted it is there: no
// provider is deleted while a policy names it, and no policy moves to another provider.
func (r *Registry) registeredBy(ctx context.Context, tx *store.Tx, org *agentidp.Organization, c *Caller) (*agentidp.RegisteredBy, error) {
	w := c.Workload
	provider := r.builtIn(w.Provider)
	if provider == nil {
		var err error
		if provider, err = tx.Provider(ctx, org.ID, w.Provider); err != nil {
			return nil, err
		}
	}
	return &agentidp.RegisteredBy{
		Subject: c.Subject, PolicyID: c.PolicyID, Provider: w.Provider, Issuer: provider.Issuer, Repository: w.Repository,
		RepositoryID: w.RepositoryID, Ref: w.Ref, RunID: w.RunID, WorkloadSubject: w.Subject,
	}, nil
}

// bootstrapPolicy locks the policy behind a bootstrap token, so that two
// registrations of one policy count one after the other.
func (r *Registry) bootstrapPolicy(ctx context.Context, tx *store.Tx, org *agentidp.Organization, c *Caller) (*agentidp.TrustPolicy, error) {
	p, err := tx.LockPolicy(ctx, org.ID, c.PolicyID)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return nil, err
	}
	if err != nil || !p.Bootstrap() || p.Mode != agentidp.ModeEnforce || (p.ExpiresAt != nil && !r.Clock().Before(*p.ExpiresAt)) {
		return nil, agentidp.NewError(agentidp.Unauthenticated, agentidp.CodeInvalidToken,
			"The trust policy that granted this bootstrap token is no longer in force. Ask the administrator of this server for a bootstrap policy, then exchange a fresh ID token.")
	}
	return p, nil
}

// sameOrigin decides what a name that is taken means for this caller. A holder
// elsewhere is not described: that it exists is all that a stranger learns.
//
// A repository or subject is its issuer's, whatever the provider is called. Agents from
// before the issuer was recorded have none only where it is the configuration's, whose
// name nobody else can take, or where the provider was gone already.
func (r *Registry) sameOrigin(agent *agentidp.Agent, again *agentidp.RegisteredBy) error {
	by := &agent.RegisteredBy
	issuer := by.Issuer == again.Issuer
	if by.Issuer == "" {
		issuer = by.Provider == again.Provider && r.builtIn(by.Provider) != nil
	}
	// Two that have no repository are not the same for that: then it takes the same
	// subject, which no subject at all is not.
	same := by.RepositoryID == again.RepositoryID && by.WorkloadSubject == again.WorkloadSubject && by.RepositoryID+by.WorkloadSubject != ""
	if !issuer || !same {
		return nameTaken(store.ErrExists)
	}
	if agent.Status == agentidp.AgentDecommissioned {
		return decommissioned("Its name cannot be used again; register under another.")
	}
	return nil
}

func withinPolicy(ctx context.Context, tx *store.Tx, p *agentidp.TrustPolicy, name string) error {
	if p.AgentNamePattern != "" && !policy.Glob(agentidp.FoldAgentName(p.AgentNamePattern), agentidp.FoldAgentName(name)) {
		return agentidp.NewError(agentidp.Denied, agentidp.CodeAgentNameNotPermitted,
			fmt.Sprintf("The trust policy does not permit the agent name %q. Ask the administrator of this server which names it permits.", name))
	}
	living, err := tx.CountLivingAgents(ctx, p.OrganizationID, p.ID)
	if err != nil {
		return err
	}
	if living >= p.MaxAgents {
		return agentidp.NewError(agentidp.Denied, agentidp.CodeAgentLimitReached,
			"The trust policy has registered as many agents as it may. Ask the administrator of this server to decommission one or to raise maxAgents.")
	}
	return nil
}
