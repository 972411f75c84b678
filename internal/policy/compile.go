package policy

import (
	"slices"
	"strings"
	"time"

	"github.com/sentryagent/agentidp"
)

const (
	refTypeBranch = "branch"
	refTypeTag    = "tag"

	branchPrefix     = "refs/heads/"
	tagPrefix        = "refs/tags/"
	pullPrefix       = "refs/pull/"
	mergeQueueBranch = "gh-readonly-queue/"
)

// Compiled is a stored policy in the form in which it is matched. It refers to
// the policy and is good until that, or its pin, changes. It is safe for
// concurrent use.
type Compiled struct {
	Policy *agentidp.TrustPolicy

	repository string // folded
	ref        string // the one ref of a policy with a branch
	refType    string
	events     string // for checks
	workflow   workflow
	claims     []claimCondition
	expression expression
	byClaims   bool // it names no repository: its claims say whom it is about
}

// Compile prepares a policy for Match; kind is that of its provider. The policy must not
// change afterwards.
func Compile(p *agentidp.TrustPolicy, kind *agentidp.ProviderKind) *Compiled {
	c := &Compiled{
		Policy:     p,
		repository: agentidp.FoldRepository(p.Repository),
		refType:    refTypeBranch,
		events:     strings.Join(p.Events, " "),
		workflow:   compileWorkflow(p.Workflow),
		claims:     compileClaims(p.Claims, kind),
		expression: compileCondition(p, kind),
		byClaims:   p.Repository == "",
	}
	if p.Branch != "" {
		c.ref = branchPrefix + p.Branch
	}
	if p.Tag != "" {
		c.refType = refTypeTag
	}
	return c
}

// names reports whether the policy is about the caller's repository, by name or
// by the identity that the name was pinned to: only then may a refusal say more
// than that there is no policy. A policy without a repository is about callers
// without one.
func (c *Compiled) names(r *request) bool {
	if c.byClaims {
		return r.repository == ""
	}
	if c.repository != "" && c.repository == r.repository {
		return true
	}
	pin := c.Policy.Pinned
	return pin != nil && pin.RepositoryID != "" && pin.RepositoryID == r.Claims.RepositoryID
}

// permitsRef decides on the ref alone; the ref's type is a condition of its own,
// so that a tag called like a branch is refused twice.
func (c *Compiled) permitsRef(ref string) bool {
	switch {
	case c.Policy.Branch != "" && c.Policy.Tag != "":
		return false // Validate refuses such a policy.
	case c.Policy.Tag != "":
		name, ok := strings.CutPrefix(ref, tagPrefix)
		return ok && name != "" && Glob(c.Policy.Tag, name)
	case c.Policy.Branch != "":
		return ref == c.ref
	case c.anyRef():
		return true
	}
	// Any branch. A merge queue's branches hold what nobody has merged yet, and
	// refs/pull/… is what anybody may propose: neither is one of the
	// repository's own branches.
	name, ok := strings.CutPrefix(ref, branchPrefix)
	return ok && name != "" && !strings.HasPrefix(name, mergeQueueBranch)
}

// permitsRefType is its other half.
func (c *Compiled) permitsRefType(refType string) bool {
	return c.refType == refType || c.anyRef()
}

// anyRef reports whether the policy has no condition on refs: it is about callers
// that have none.
func (c *Compiled) anyRef() bool {
	return c.byClaims && c.Policy.Branch == "" && c.Policy.Tag == ""
}

// permitsEvent reports whether the event is on the list. An allow-list: one that is
// new or absent is not on it. A policy without a repository, whose
// callers have no events, has no list.
func (c *Compiled) permitsEvent(event string) bool {
	if c.byClaims && len(c.Policy.Events) == 0 {
		return true
	}
	return event != "" && slices.Contains(c.Policy.Events, event)
}

func (c *Compiled) showRef() string {
	switch {
	case c.Policy.Tag != "":
		return tagPrefix + c.Policy.Tag
	case c.Policy.Branch != "":
		return c.ref
	case c.anyRef():
		return ""
	}
	return "any branch outside a merge queue"
}

// permitsScope reports whether a token granted by this policy for this agent
// may carry a scope. A bootstrap token carries agents:write and nothing else.
func (c *Compiled) permitsScope(agent *agentidp.Agent, scope string) bool {
	if c.Policy.Bootstrap() {
		return scope == agentidp.ScopeAgentsWrite
	}
	return agent != nil && slices.Contains(agent.Capabilities, scope) &&
		(len(c.Policy.Scopes) == 0 || slices.Contains(c.Policy.Scopes, scope))
}

// scopes returns every scope that a token may carry, sorted, in a new slice.
func (c *Compiled) scopes(agent *agentidp.Agent) []string {
	if c.Policy.Bootstrap() {
		return []string{agentidp.ScopeAgentsWrite}
	}
	if agent == nil {
		return nil
	}
	bound := make([]string, 0, len(agent.Capabilities))
	for _, scope := range agent.Capabilities {
		if c.permitsScope(agent, scope) {
			bound = append(bound, scope)
		}
	}
	slices.Sort(bound)
	return slices.Compact(bound)
}

// excess returns the requested scopes that are not permitted.
func (c *Compiled) excess(r *request) []string {
	var excess []string
	for _, scope := range r.Scopes {
		if !c.permitsScope(r.Agent, scope) {
			excess = append(excess, scope)
		}
	}
	return excess
}

// audience returns the audience of a token for which none was asked.
func (c *Compiled) audience(o *agentidp.Organization) string {
	switch {
	case c.Policy.Bootstrap():
		return o.ManagementAudience()
	case len(c.Policy.Audiences) > 0:
		return c.Policy.Audiences[0]
	}
	return o.Issuer
}

func (c *Compiled) permitsAudience(o *agentidp.Organization, audience string) bool {
	if !c.Policy.Bootstrap() && len(c.Policy.Audiences) > 0 {
		return slices.Contains(c.Policy.Audiences, audience)
	}
	return audience == c.audience(o)
}

func (c *Compiled) showAudiences(o *agentidp.Organization) string {
	if !c.Policy.Bootstrap() && len(c.Policy.Audiences) > 0 {
		return strings.Join(c.Policy.Audiences, " ")
	}
	return c.audience(o)
}

// expired reports whether the policy grants nothing at this instant. A token's
// times are whole seconds, so less than one second left is none.
func (c *Compiled) expired(now time.Time) bool {
	return c.Policy.ExpiresAt != nil && c.Policy.ExpiresAt.Sub(now) < time.Second
}

// ttl returns the life of a token granted now, in whole seconds wherever the
// policy limits it: it never outlives the policy.
func (c *Compiled) ttl(in *Input) time.Duration {
	ttl := in.AgentTTL
	if c.Policy.Bootstrap() {
		ttl = in.BootstrapTTL
	}
	if c.Policy.TokenTTLSeconds > 0 {
		ttl = time.Duration(c.Policy.TokenTTLSeconds) * time.Second
	}
	if c.Policy.ExpiresAt != nil {
		ttl = min(ttl, c.Policy.ExpiresAt.Sub(in.Now).Truncate(time.Second))
	}
	return ttl
}
