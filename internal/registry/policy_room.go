package registry

import (
	"context"
	"fmt"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/store"
)

// maxWithoutRepository is how many policies of one provider may name no repository, and
// maxOfRepository how many may name the same one: an exchange looks at all of them, and a
// bootstrap policy may make one for each agent that a run registers. What so many cost is
// measured (docs/performance.md).
const (
	maxWithoutRepository = 1000
	maxOfRepository      = 10_000
)

// checkRoom refuses one policy too many of those that a caller is held against. Creations
// at the same moment may exceed the number by a few.
func checkRoom(ctx context.Context, tx *store.Tx, p *agentidp.TrustPolicy) error {
	most := maxOfRepository
	if p.Repository == "" {
		most = maxWithoutRepository
	}
	n, err := tx.CountPolicies(ctx, p.OrganizationID, p.Provider, p.Repository)
	if err != nil || n < most {
		return err
	}
	message := fmt.Sprintf("Provider %s has %d trust policies without a repository already, and every exchange with it looks at all of them. Give several values to one claim, or delete policies that are not used.", p.Provider, n)
	if p.Repository != "" {
		message = fmt.Sprintf("The repository %s has %d trust policies already, and every exchange of its runs looks at all of them. Delete policies that are not used; those that have granted nothing are listed by neverMatched.", p.Repository, n)
	}
	return agentidp.NewError(agentidp.Conflict, agentidp.CodePolicyLimitReached, message)
}
