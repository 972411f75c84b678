package policy

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/sentryagent/agentidp"
)

// Fingerprint returns the identity of a policy's effect: equal for two policies
// of one organization if and only if they do the same. It reads the normalized
// form, and everything in it but what is said to people: the description and why a risk
// was accepted. Repository names that GitHub
// takes for the same one are the same here.
//
// It is hexadecimal SHA-256 over the fields that are set, each as its name, the
// number of its values and each value with its length: no two policies have the
// same encoding, and a field that is added later changes no fingerprint of a
// policy that does not use it. Fingerprints are stored, so an encoding must
// never change.
func Fingerprint(spec *agentidp.TrustPolicySpec) string {
	h := sha256.New()
	list := func(name string, values []string) {
		if len(values) == 0 {
			return
		}
		// A hash.Hash never returns an error.
		_, _ = fmt.Fprintf(h, "%s %d\n", name, len(values))
		for _, v := range values {
			_, _ = fmt.Fprintf(h, "%d:%s\n", len(v), v)
		}
	}
	text := func(name, value string) {
		if value != "" {
			list(name, []string{value})
		}
	}
	number := func(name string, n int) {
		if n != 0 {
			text(name, strconv.Itoa(n))
		}
	}

	text("provider", spec.Provider)
	text("repository", agentidp.FoldRepository(spec.Repository))
	text("branch", spec.Branch)
	text("tag", spec.Tag)
	text("agentId", spec.AgentID)
	text("repositoryId", spec.RepositoryID)
	text("repositoryOwnerId", spec.RepositoryOwnerID)
	list("events", spec.Events)
	for _, name := range slices.Sorted(maps.Keys(spec.Claims)) {
		list("claim", append([]string{name}, spec.Claims[name]...))
	}
	text("environment", spec.Environment)
	text("workflow", foldWorkflow(spec.Workflow))
	text("condition", spec.Condition)
	list("scopes", spec.Scopes)
	list("audiences", spec.Audiences)
	number("tokenTtlSeconds", spec.TokenTTLSeconds)
	number("maxAgents", spec.MaxAgents)
	text("agentNamePattern", spec.AgentNamePattern)
	if spec.TrustRegisteredAgents {
		text("trustRegisteredAgents", "true")
	}
	text("mode", string(spec.Mode))
	if spec.ExpiresAt != nil {
		text("expiresAt", strconv.FormatInt(spec.ExpiresAt.UnixMicro(), 10))
	}
	return hex.EncodeToString(h.Sum(nil))
}
