package policy

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/sentryagent/agentidp"
)

// Limits of conditions on claims.
const (
	maxClaims      = 16
	maxClaimValues = 16
	maxClaimLength = 255 // of a name or a value, in bytes
)

// Names of checks that are one comparison for each claim.
const (
	checkIdentity = "identity"
	checkClaims   = "claims"
)

// claimCondition is that one claim has one of some values.
type claimCondition struct {
	name   string
	values []string
}

func compileClaims(claims agentidp.ClaimConditions) []claimCondition {
	if len(claims) == 0 {
		return nil
	}
	conditions := make([]claimCondition, 0, len(claims))
	for _, name := range slices.Sorted(maps.Keys(claims)) {
		conditions = append(conditions, claimCondition{name, claims[name]})
	}
	return conditions
}

func (c *claimCondition) holds(r *request) bool {
	value, ok := r.Claims.Read(c.name)
	return ok && slices.Contains(c.values, value)
}

// identifies reports whether a claim tells the caller from everybody else.
func (r *request) identifies(claim string) bool {
	return r.Claims.Kind != nil && slices.Contains(r.Claims.Kind.IdentityClaims, claim)
}

// identified reports whether a policy without a repository is about the caller: it
// names at least one of the claims that identify the caller, and these are as it says.
func (c *Compiled) identified(r *request) bool {
	named := false
	for i := range c.claims {
		if !r.identifies(c.claims[i].name) {
			continue
		}
		if !c.claims[i].holds(r) {
			return false
		}
		named = true
	}
	return named
}

// unmet returns the conditions on claims that do not hold.
func (c *Compiled) unmet(r *request) []claimCondition {
	var unmet []claimCondition
	for i := range c.claims {
		if !c.claims[i].holds(r) {
			unmet = append(unmet, c.claims[i])
		}
	}
	return unmet
}

func (c *Compiled) meetsClaims(r *request) bool {
	for i := range c.claims {
		if !c.claims[i].holds(r) {
			return false
		}
	}
	return true
}

// traceClaims is trace for the conditions on claims: those that identify the caller
// of a policy without a repository, or all others.
func traceClaims(checks []agentidp.Check, name string, c *Compiled, r *request) []agentidp.Check {
	before := len(checks)
	for i := range c.claims {
		cond := &c.claims[i]
		if (name == checkIdentity) != (c.byClaims && r.identifies(cond.name)) {
			continue
		}
		got, _ := r.Claims.Read(cond.name)
		checks = append(checks, agentidp.Check{
			PolicyID: c.Policy.ID, Check: name, Claim: cond.name,
			Expected: clip(strings.Join(cond.values, " or "), maxShown), Got: clip(got, maxShown), OK: cond.holds(r),
		})
	}
	if name == checkIdentity && c.byClaims && len(checks) == before {
		checks = append(checks, agentidp.Check{PolicyID: c.Policy.ID, Check: name, Expected: "a repository, or a claim that identifies the caller", Got: "neither in the policy"})
	}
	return checks
}

// fields are the claims on which a policy has conditions in fields of their own.
var fields = map[agentidp.Claim]string{
	agentidp.ClaimRepository:        "repository",
	agentidp.ClaimRepositoryID:      "repositoryId",
	agentidp.ClaimRepositoryOwnerID: "repositoryOwnerId",
	agentidp.ClaimRef:               "branch or tag",
	agentidp.ClaimRefType:           "branch or tag",
	agentidp.ClaimEvent:             "events",
}

// verified are the claims that every token is held to before any policy is read.
var verified = map[string]string{
	"iss": "is the same in all tokens of a provider. Leave it out: provider says it.",
	"aud": "is for this server in every token that is accepted. Leave it out; which audiences are, the provider says.",
	"exp": "is checked in every token. Leave it out; expiresAt ends a policy.",
	"iat": "is checked in every token. Leave it out; expiresAt ends a policy.",
	"nbf": "is checked in every token. Leave it out; expiresAt ends a policy.",
	"jti": "is another in every token, and each is accepted once. Leave it out.",
}

// within judges what a policy says of claims that the provider's tokens do not have,
// and returns the rest of it.
func (p *problems) within(spec *agentidp.TrustPolicySpec, kind *agentidp.ProviderKind) *agentidp.TrustPolicySpec {
	if kind == nil {
		return spec
	}
	rest := *spec
	for _, f := range []struct {
		name  string
		claim agentidp.Claim
		value *string
	}{
		{"repository", agentidp.ClaimRepository, &rest.Repository},
		{"repositoryId", agentidp.ClaimRepositoryID, &rest.RepositoryID},
		{"repositoryOwnerId", agentidp.ClaimRepositoryOwnerID, &rest.RepositoryOwnerID},
		{"branch", agentidp.ClaimRef, &rest.Branch},
		{"tag", agentidp.ClaimRef, &rest.Tag},
	} {
		if *f.value != "" && !kind.Has(f.claim) {
			p.add(f.name, notInTokens, spec.Provider, kind.Name)
			*f.value = ""
		}
	}
	if rest.Events != nil && !kind.Has(agentidp.ClaimEvent) {
		p.add("events", notInTokens, spec.Provider, kind.Name)
		rest.Events = nil
	}
	return &rest
}

const notInTokens = "means nothing in the tokens of provider %s, which is of kind %s. Leave it out, and say in claims which tokens are meant."

// whose checks that the policy says whose tokens it is for.
func (p *problems) whose(spec *agentidp.TrustPolicySpec, kind *agentidp.ProviderKind) {
	if kind == nil || kind.Has(agentidp.ClaimRepository) {
		if kind != nil || spec.Repository != "" || spec.Claims == nil {
			p.text("repository", RepositoryProblem(spec.Repository))
		}
		return
	}
	for _, name := range kind.IdentityClaims {
		if _, ok := spec.Claims[name]; ok {
			return
		}
	}
	p.add("claims", "must name %s: the tokens of provider %s, which is of kind %s, name no repository, and nothing else tells whose they are. Write for example {%q: \"build-deployer\"}.",
		strings.Join(kind.IdentityClaims, " or "), spec.Provider, kind.Name, kind.IdentityClaims[0])
}

func (p *problems) claims(claims agentidp.ClaimConditions, kind *agentidp.ProviderKind) {
	switch n := len(claims); {
	case claims != nil && n == 0:
		p.add("claims", "is empty. Leave it out, or name at least one claim.")
	case n > maxClaims:
		p.add("claims", "has conditions on %d claims; at most %d are possible.", n, maxClaims)
	}
	for _, name := range slices.Sorted(maps.Keys(claims)) {
		problem := textProblem(name, maxClaimLength)
		switch {
		case name == "":
			p.add("claims", "has a condition on a claim without a name. Leave it out.")
		case problem != "":
			p.add("claims", "has a condition on a claim whose name %s", problem)
		default:
			p.text("claims."+name, claimProblem(name, kind))
			p.claimValues("claims."+name, claims[name])
		}
	}
}

// claimProblem says why there can be no condition on a claim, or "".
func claimProblem(name string, kind *agentidp.ProviderKind) string {
	if problem := verified[name]; problem != "" || kind == nil {
		return problem
	}
	for claim, field := range fields {
		if kind.ClaimNames[claim] == name {
			return "has a field of its own. Use " + field + "."
		}
	}
	if kind.ClaimNames[agentidp.ClaimTokenID] == name {
		return verified["jti"]
	}
	if why := kind.UnsafeClaims[name]; why != "" {
		return "cannot be relied on. " + why
	}
	return ""
}

func (p *problems) claimValues(field string, values agentidp.ClaimValues) {
	switch n := len(values); {
	case n == 0:
		p.add(field, "has no value. Give one, or leave the claim out.")
	case n > maxClaimValues:
		p.add(field, "has %d values; at most %d are possible.", n, maxClaimValues)
	}
	for i, value := range values {
		at := field
		if len(values) > 1 {
			at = fmt.Sprintf("%s[%d]", field, i)
		}
		switch {
		case value == "":
			p.add(at, "is empty. Give the value that the claim must have, or leave the claim out.")
		case strings.Contains(value, "*"):
			p.add(at, "wildcards are not supported: a claim is compared exactly, character by character. Name each value that is permitted.")
		case slices.Contains(values[:i], value):
			p.add(at, "repeats %s. Leave it out.", said(value))
		default:
			p.text(at, textProblem(value, maxClaimLength))
		}
	}
}
