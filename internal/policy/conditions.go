package policy

import (
	"strings"
	"time"

	"github.com/sentryagent/agentidp"
)

// Names of checks.
const (
	checkMode              = "mode"
	checkExpiry            = "expires_at"
	checkProvider          = "provider"
	checkAgent             = "agent"
	checkRepository        = "repository"
	checkIdentity          = "identity"
	checkPinnedID          = "pinned_repository_id"
	checkPinnedOwnerID     = "pinned_repository_owner_id"
	checkRepositoryID      = "repository_id"
	checkRepositoryOwnerID = "repository_owner_id"
	checkAgentStatus       = "agent_status"
	checkEvent             = "event"
	checkRefType           = "ref_type"
	checkRef               = "ref"
	checkEnvironment       = "environment"
	checkWorkflow          = "workflow"
	checkClaims            = "claims"
	checkCondition         = "condition"
	checkScope             = "scope"
	checkAudience          = "audience"
)

// A comparison is one condition as it is held between a policy and an exchange. The decision
// and the trace for administrators both come from it, so they cannot differ.
type comparison struct {
	name  string         // Check.Check
	claim agentidp.Claim // the claim that is read; "" where it is none
	code  string         // the answer where this is the first that does not hold
	holds func(c *Compiled, r *request) bool

	// show returns what the policy expects and what came. No expectation means
	// that the policy has no such condition; then it holds. nil: the policy or the
	// token says which claims are read, see traceClaims.
	show func(c *Compiled, r *request) (expected, got string)
}

// conditions in their fixed order: a policy that fails a later one got
// further.
var conditions = []comparison{
	// A policy that fails one of the first is no policy for this exchange.
	{checkMode, "", agentidp.CodeTrustPolicyViolation,
		func(c *Compiled, _ *request) bool { return c.Policy.Mode == agentidp.ModeEnforce },
		func(c *Compiled, _ *request) (string, string) {
			return string(agentidp.ModeEnforce), string(c.Policy.Mode)
		}},
	{checkExpiry, "", agentidp.CodeTrustPolicyViolation,
		func(c *Compiled, r *request) bool { return !c.expired(r.Now) },
		func(c *Compiled, r *request) (string, string) {
			if c.Policy.ExpiresAt == nil {
				return "", ""
			}
			return "before " + c.Policy.ExpiresAt.UTC().Format(time.RFC3339), r.Now.UTC().Format(time.RFC3339)
		}},
	{checkProvider, "", agentidp.CodeTrustPolicyViolation,
		func(c *Compiled, r *request) bool { return c.Policy.Provider == r.Claims.Provider },
		func(c *Compiled, r *request) (string, string) { return c.Policy.Provider, r.Claims.Provider }},
	// Exactly the agent asked for; none with none. A policy with an agent never
	// grants bootstrap, and one without never grants an agent.
	{checkAgent, "", agentidp.CodeTrustPolicyViolation,
		func(c *Compiled, r *request) bool { return c.Policy.AgentID == r.AgentID },
		func(c *Compiled, r *request) (string, string) {
			return agentOrBootstrap(c.Policy.AgentID), agentOrBootstrap(r.AgentID)
		}},
	{checkRepository, agentidp.ClaimRepository, agentidp.CodeTrustPolicyViolation,
		(*Compiled).names,
		func(c *Compiled, r *request) (string, string) {
			if c.byClaims && r.Claims.Repository != "" {
				return "none", r.Claims.Repository
			}
			return c.Policy.Repository, r.Claims.Repository
		}},
	// Where there are no repositories, claims tell one caller from another.
	{checkIdentity, "", agentidp.CodeTrustPolicyViolation,
		func(c *Compiled, r *request) bool { return !c.byClaims || c.identified(r) }, nil},

	// Names can be taken over, numbers cannot. A grant pins the
	// ids, so a token without them passes nothing, pinned or not.
	{checkPinnedID, agentidp.ClaimRepositoryID, agentidp.CodeRepositoryIdentityChanged,
		func(c *Compiled, r *request) bool {
			got := r.Claims.RepositoryID
			return c.byClaims || got != "" && (c.Policy.Pinned == nil || c.Policy.Pinned.RepositoryID == got)
		},
		func(c *Compiled, r *request) (string, string) {
			if c.byClaims {
				return "", ""
			}
			if c.Policy.Pinned == nil {
				return "any (not pinned yet)", r.Claims.RepositoryID
			}
			return orNone(c.Policy.Pinned.RepositoryID), r.Claims.RepositoryID
		}},
	{checkPinnedOwnerID, agentidp.ClaimRepositoryOwnerID, agentidp.CodeRepositoryIdentityChanged,
		func(c *Compiled, r *request) bool {
			got := r.Claims.RepositoryOwnerID
			return c.byClaims || got != "" && (c.Policy.Pinned == nil || c.Policy.Pinned.RepositoryOwnerID == got)
		},
		func(c *Compiled, r *request) (string, string) {
			if c.byClaims {
				return "", ""
			}
			if c.Policy.Pinned == nil {
				return "any (not pinned yet)", r.Claims.RepositoryOwnerID
			}
			return orNone(c.Policy.Pinned.RepositoryOwnerID), r.Claims.RepositoryOwnerID
		}},
	{checkRepositoryID, agentidp.ClaimRepositoryID, agentidp.CodeRepositoryIdentityChanged,
		func(c *Compiled, r *request) bool {
			return c.Policy.RepositoryID == "" || c.Policy.RepositoryID == r.Claims.RepositoryID
		},
		func(c *Compiled, r *request) (string, string) { return c.Policy.RepositoryID, r.Claims.RepositoryID }},
	{checkRepositoryOwnerID, agentidp.ClaimRepositoryOwnerID, agentidp.CodeRepositoryIdentityChanged,
		func(c *Compiled, r *request) bool {
			return c.Policy.RepositoryOwnerID == "" || c.Policy.RepositoryOwnerID == r.Claims.RepositoryOwnerID
		},
		func(c *Compiled, r *request) (string, string) {
			return c.Policy.RepositoryOwnerID, r.Claims.RepositoryOwnerID
		}},

	{checkAgentStatus, "", agentidp.CodeAgentNotActive,
		func(c *Compiled, r *request) bool {
			return c.Policy.Bootstrap() || agentStatus(c, r) == string(agentidp.AgentActive)
		},
		func(c *Compiled, r *request) (string, string) {
			// Of an agent that was not asked for nothing is known.
			if c.Policy.Bootstrap() || c.Policy.AgentID != r.AgentID {
				return "", ""
			}
			return string(agentidp.AgentActive), agentStatus(c, r)
		}},
	{checkEvent, agentidp.ClaimEvent, agentidp.CodeEventNotPermitted,
		func(c *Compiled, r *request) bool { return c.permitsEvent(r.Claims.Event) },
		func(c *Compiled, r *request) (string, string) {
			if c.byClaims {
				return c.events, r.Claims.Event
			}
			return orNone(c.events), r.Claims.Event
		}},
	{checkRefType, agentidp.ClaimRefType, agentidp.CodeBranchNotPermitted,
		func(c *Compiled, r *request) bool { return c.permitsRefType(r.Claims.RefType) },
		func(c *Compiled, r *request) (string, string) {
			if c.anyRef() {
				return "", ""
			}
			return c.refType, r.Claims.RefType
		}},
	{checkRef, agentidp.ClaimRef, agentidp.CodeBranchNotPermitted,
		func(c *Compiled, r *request) bool { return c.permitsRef(r.Claims.Ref) },
		func(c *Compiled, r *request) (string, string) { return c.showRef(), r.Claims.Ref }},
	// The rules of a deployment environment stand before the token, and the workflow's
	// file says what the job does.
	{checkEnvironment, agentidp.ClaimEnvironment, agentidp.CodeConditionNotMet,
		func(c *Compiled, r *request) bool {
			return c.Policy.Environment == "" || c.Policy.Environment == r.Claims.Environment
		},
		func(c *Compiled, r *request) (string, string) {
			return besideCase(c.Policy.Environment, r.Claims.Environment, c.Policy.Environment), r.Claims.Environment
		}},
	{checkWorkflow, "", agentidp.CodeConditionNotMet, (*Compiled).permitsWorkflow, nil},
	{checkClaims, "", agentidp.CodeConditionNotMet, (*Compiled).meetsClaims, nil},
	{checkCondition, "", agentidp.CodeConditionNotMet, (*Compiled).meetsCondition, nil},

	{checkScope, "", agentidp.CodeInvalidScope,
		func(c *Compiled, r *request) bool { return len(c.excess(r)) == 0 },
		func(c *Compiled, r *request) (string, string) {
			return orNone(strings.Join(c.scopes(r.Agent), " ")), strings.Join(r.Scopes, " ")
		}},
	{checkAudience, "", agentidp.CodeInvalidTarget,
		func(c *Compiled, r *request) bool {
			return r.Audience == "" || c.permitsAudience(r.Organization, r.Audience)
		},
		func(c *Compiled, r *request) (string, string) { return c.showAudiences(r.Organization), r.Audience }},
}

// agentStatus is the status of the policy's agent, or "absent" where what came
// with the exchange is not that agent.
func agentStatus(c *Compiled, r *request) string {
	a := r.Agent
	if a == nil || a.AgentID != c.Policy.AgentID || a.OrganizationID != c.Policy.OrganizationID {
		return "absent"
	}
	return string(a.Status)
}

func agentOrBootstrap(agentID string) string {
	if agentID == "" {
		return "none (bootstrap)"
	}
	return agentID
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}
