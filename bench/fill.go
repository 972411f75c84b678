package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/policy"
	"github.com/sentryagent/agentidp/internal/store"
)

const (
	fillBatch = 1000 // rows in a transaction
	someOf    = 5000 // policies at most that exchanges are made by
)

// fillStore writes agents and policies of the default organization straight into a
// database, each policy for another repository and another agent, and returns some of the
// policies, from all of their length.
func fillStore(ctx context.Context, url string, agents, policies int) (some []agentidp.TrustPolicy, err error) {
	db, err := store.Open(ctx, url, store.Options{})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	org, err := db.Organization(ctx, agentidp.DefaultOrganization)
	if err != nil {
		return nil, err
	}
	every := max(1, policies/someOf)
	for from := 0; from < agents; from += fillBatch {
		chosen := len(some)
		err := db.Write(ctx, func(tx *store.Tx) error {
			some = some[:chosen] // it may run again
			for i := from; i < min(from+fillBatch, agents); i++ {
				a := filledAgent(org.ID, i)
				if err := tx.CreateAgent(ctx, a); err != nil {
					return err
				}
				if i >= policies {
					continue
				}
				p := filledPolicy(org.ID, a.AgentID, i)
				if err := tx.CreatePolicy(ctx, p, policy.Fingerprint(&p.TrustPolicySpec)); err != nil {
					return err
				}
				if i%every == 0 && len(some) < someOf {
					some = append(some, *p)
				}
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return some, nil
}

func filledAgent(orgID string, i int) *agentidp.Agent {
	now := time.Now()
	return &agentidp.Agent{
		AgentID: agentidp.NewID(now), OrganizationID: orgID, Status: agentidp.AgentActive, CreatedAt: now, UpdatedAt: now, Revision: 1,
		AgentSpec: agentidp.AgentSpec{
			Name: fmt.Sprintf("agent-%d@acme.example", i), Description: "deploys one of many services", AgentType: "custom", Version: "1.0.0",
			Capabilities: []string{"deploy:staging"}, Owner: "platform@acme.example", DeploymentEnv: "staging", Audiences: []string{benchAudience},
		},
	}
}

func filledPolicy(orgID, agentID string, i int) *agentidp.TrustPolicy {
	now := time.Now()
	return &agentidp.TrustPolicy{
		ID: agentidp.NewID(now), OrganizationID: orgID, CreatedAt: now, UpdatedAt: now, Revision: 1,
		TrustPolicySpec: agentidp.TrustPolicySpec{
			Provider: "github", Repository: fmt.Sprintf("acme/service-%d", i), Branch: "main", AgentID: agentID, Mode: agentidp.ModeEnforce,
			Events: []string{"push", "workflow_dispatch"}, Audiences: []string{benchAudience},
		},
	}
}
