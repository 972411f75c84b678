package policy

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/condition"
	"github.com/sentryagent/agentidp/internal/nearest"
)

// Limits of conditions on claims.
const (
	maxClaims      = 16
	maxClaimValues = 16
	maxClaimLength = 255 // of a name or a value, in bytes
)

// fields are the claims on which a policy has conditions in fields of their own.
var fields = map[agentidp.Claim]string{
	agentidp.ClaimRepository:        "repository",
	agentidp.ClaimRepositoryID:      "repositoryId",
	agentidp.ClaimRepositoryOwnerID: "repositoryOwnerId",
	agentidp.ClaimRef:               "branch or tag",
	agentidp.ClaimRefType:           "branch or tag",
	agentidp.ClaimEvent:             "events",
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
		{"environment", agentidp.ClaimEnvironment, &rest.Environment},
		{"workflow", agentidp.ClaimJobWorkflowRef, &rest.Workflow},
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
			exact := kind != nil && slices.Contains(kind.IdentityClaims, name)
			p.claimValues("claims."+name, claims[name], exact)
		}
	}
}

// claimProblem says why there can be no condition on a claim, or "".
func claimProblem(name string, kind *agentidp.ProviderKind) string {
	if problem := condition.Verified(name, kind); problem != "" || kind == nil {
		return problem
	}
	for claim, field := range fields {
		if kind.ClaimNames[claim] == name {
			return "has a field of its own. Use " + field + "."
		}
	}
	if why := kind.UnsafeClaims[name]; why != "" {
		return "cannot be relied on. " + why
	}
	return ""
}

// claimValues judges the values of one claim; exact is whether it says whose the tokens are.
func (p *problems) claimValues(field string, values agentidp.ClaimValues, exact bool) {
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
		case exact && strings.Contains(value, "*"):
			p.add(at, "says whose tokens are meant, and is compared exactly, character by character: a pattern would also let in whoever is named alike later. Name each value that is permitted.")
		case strings.Contains(value, "**"):
			p.add(at, "** is not supported: * stands for anything within one segment between slashes. Write for example release/*.")
		case slices.Contains(values[:i], value):
			p.add(at, "repeats %s. Leave it out.", said(value))
		default:
			p.text(at, textProblem(value, maxClaimLength))
		}
	}
}

// personClaims returns the warnings about conditions on who started a job.
func personClaims(p *agentidp.TrustPolicy, kind *agentidp.ProviderKind) (warnings []agentidp.Warning) {
	if kind == nil {
		return nil
	}
	for _, name := range slices.Sorted(maps.Keys(p.Claims)) {
		if why := kind.PersonClaims[name]; why != "" {
			warnings = append(warnings, agentidp.Warning{Code: warnUnsafeClaim, Message: fmt.Sprintf("The claims have a condition on %s. %s", name, why)})
		}
	}
	return warnings
}

// unknownClaims returns the warnings about claims that the provider's tokens are not known
// to have. There may be some that are not known here yet, so it is no error.
func unknownClaims(p *agentidp.TrustPolicy, kind *agentidp.ProviderKind) (warnings []agentidp.Warning) {
	for _, name := range unknownClaimsOf(p, kind) {
		warnings = append(warnings, agentidp.Warning{Code: warnUnknownClaim, Message: fmt.Sprintf(
			"The claim %s is none that tokens of kind %s are known to have, and this policy grants nothing to a token without it. %sCheck its name.", plain(name), kind.Name, claimMeant(name, kind))})
	}
	return warnings
}

// unknownClaimsOf returns the claims of a policy that the kind's tokens are not known to
// have, sorted.
func unknownClaimsOf(p *agentidp.TrustPolicy, kind *agentidp.ProviderKind) []string {
	if kind == nil {
		return nil
	}
	return slices.DeleteFunc(slices.Sorted(maps.Keys(p.Claims)), kind.Knows)
}

// claimMeant asks whether another claim was meant, among those that a condition may be on.
func claimMeant(name string, kind *agentidp.ProviderKind) string {
	possible := slices.DeleteFunc(slices.Sorted(maps.Keys(kind.KnownClaims)), func(known string) bool { return claimProblem(known, kind) != "" })
	if n, ok := nearest.Name(name, possible); ok {
		return "Is " + n + " meant? "
	}
	return ""
}
