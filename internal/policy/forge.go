package policy

import (
	"cmp"
	"encoding/json"
	"slices"
	"strings"

	"github.com/sentryagent/agentidp"
)

// Claims of GitHub that no field of agentidp.Claims has, and by which runs are told apart.
const (
	claimRefProtected   = "ref_protected"
	claimVisibility     = "repository_visibility"
	claimWorkflowCommit = "workflow_sha"
	claimJobCommit      = "job_workflow_sha"
)

// What an attacker chooses where the policy leaves the choice.
const (
	anyName     = "any" // of a branch, tag, file or environment
	anyWorkflow = workflowsFolder + anyName + ".yml"
	anyText     = "x" // in the place of a star
	anyCommit   = "0123456789abcdef0123456789abcdef01234567"
)

// forged is the subject token of an attacker, as far as policies read it. It is changed
// from one attempt to the next.
type forged struct {
	agentidp.Claims
	said map[string]string // by the provider's names
}

// ReadClaim implements agentidp.ClaimSource.
func (f *forged) ReadClaim(name string) (string, bool) {
	value, ok := f.said[name]
	return value, ok
}

// ReadJSON implements agentidp.ClaimSource.
func (f *forged) ReadJSON(name string) []byte {
	value, ok := f.said[name]
	if !ok {
		return nil
	}
	text, _ := json.Marshal(value) // of text, which has no error
	return text
}

// say sets a claim by the provider's name of it; "" leaves it out.
func (f *forged) say(name, value string) {
	if value == "" {
		delete(f.said, name)
		return
	}
	f.said[name] = value
}

// sayOurs sets a claim by our name of it.
func (f *forged) sayOurs(claim agentidp.Claim, value string) {
	if name := f.Kind.ClaimNames[claim]; name != "" {
		*f.Field(claim) = value
		f.say(name, value)
	}
}

// sayAny is say for a claim that may be one of ours.
func (f *forged) sayAny(name, value string) {
	for claim, theirs := range f.Kind.ClaimNames {
		if theirs == name {
			*f.Field(claim) = value
		}
	}
	f.say(name, value)
}

// forge returns the token of some run of the policy's repository, or of the workload that
// the policy names: whatever is the same for all attackers.
func forge(p *agentidp.TrustPolicy, kind *agentidp.ProviderKind) *forged {
	f := &forged{said: make(map[string]string, 32)}
	f.Provider, f.Kind, f.Source = p.Provider, kind, f
	if p.Repository != "" {
		owner, _, _ := strings.Cut(p.Repository, "/")
		id, ownerID := fixedIdentity(p)
		for name, value := range map[string]string{
			"repository_owner": owner, claimVisibility: "private", "runner_environment": "github-hosted", "actor": "octocat", "actor_id": "1",
			"run_number": "1", "check_run_id": "1", "workflow": "CI", claimWorkflowCommit: anyCommit, claimJobCommit: anyCommit,
		} {
			f.said[name] = value
		}
		for claim, value := range map[agentidp.Claim]string{
			agentidp.ClaimRepository: p.Repository, agentidp.ClaimRepositoryID: cmp.Or(id, "1"), agentidp.ClaimRepositoryOwnerID: cmp.Or(ownerID, "1"),
			agentidp.ClaimSHA: anyCommit, agentidp.ClaimRunID: "1", agentidp.ClaimRunAttempt: "1",
		} {
			f.sayOurs(claim, value)
		}
	}
	for name, patterns := range p.Claims {
		f.say(name, fill(patterns[0]))
	}
	f.Subject = f.said["sub"]
	return f
}

// fixedIdentity returns the ids that a token must have for the policy, "" for any.
func fixedIdentity(p *agentidp.TrustPolicy) (repository, owner string) {
	repository, owner = p.RepositoryID, p.RepositoryOwnerID
	if p.Pinned != nil {
		repository, owner = cmp.Or(repository, p.Pinned.RepositoryID), cmp.Or(owner, p.Pinned.RepositoryOwnerID)
	}
	return repository, owner
}

// fill returns a text that a pattern matches.
func fill(pattern string) string { return strings.ReplaceAll(pattern, "*", anyText) }

// tell returns what the token says of all that the policy reads.
func (f *forged) tell(p *agentidp.TrustPolicy, reads []string) map[string]string {
	told := map[string]string{}
	name := func(names ...string) {
		for _, name := range names {
			if value, ok := f.said[name]; ok {
				told[name] = value
			}
		}
	}
	ours := func(claims ...agentidp.Claim) {
		for _, claim := range claims {
			name(f.Kind.ClaimNames[claim])
		}
	}
	for claim := range p.Claims {
		name(claim)
	}
	name(reads...)
	if p.Repository == "" {
		return told
	}
	ours(agentidp.ClaimRepository, agentidp.ClaimRef, agentidp.ClaimRefType, agentidp.ClaimEvent, agentidp.ClaimEnvironment)
	if id, _ := fixedIdentity(p); id != "" {
		ours(agentidp.ClaimRepositoryID)
	}
	if _, owner := fixedIdentity(p); owner != "" {
		ours(agentidp.ClaimRepositoryOwnerID)
	}
	if p.Workflow != "" {
		ours(agentidp.ClaimWorkflowRef, agentidp.ClaimJobWorkflowRef)
	}
	return told
}

// values returns the values of a policy's condition on a claim: those that are exact, and
// texts that match the others.
func values(p *agentidp.TrustPolicy, claim string) (exact, filled []string) {
	for _, pattern := range p.Claims[claim] {
		if strings.Contains(pattern, "*") {
			filled = append(filled, fill(pattern))
		} else {
			exact = append(exact, pattern)
		}
	}
	return exact, filled
}

// add appends what is not there yet.
func add(list []string, more ...string) []string {
	for _, s := range more {
		if s != "" && !slices.Contains(list, s) {
			list = append(list, s)
		}
	}
	return list
}
