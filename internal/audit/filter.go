package audit

import (
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/sentryagent/agentidp"
)

const (
	maxRepository = 256 // bytes
	maxNumericID  = 20  // digits
)

// CheckDecisions returns what is wrong with a filter: one error for every bad
// field. A value that no decision can have is refused: an empty list would say that
// nothing happened.
func CheckDecisions(f agentidp.DecisionFilter) agentidp.FieldErrors {
	var bad agentidp.FieldErrors
	checkRepository(&bad, f.Repository)
	if f.RepositoryID != "" && !isNumericID(f.RepositoryID) {
		bad.Refuse("repositoryId", "must be the repository's numeric id, in digits alone")
	}
	bad.ID("agentId", f.AgentID)
	bad.ID("policyId", f.PolicyID)
	agentidp.OneOf(&bad, "code", f.Code, agentidp.DecisionCodes...)
	agentidp.OneOf(&bad, "outcome", f.Outcome, agentidp.OutcomeAllowed, agentidp.OutcomeDenied)
	checkPeriod(&bad, f.Since, f.Until)
	return bad
}

// CheckEvents is CheckDecisions for events.
func CheckEvents(f agentidp.EventFilter) agentidp.FieldErrors {
	var bad agentidp.FieldErrors
	bad.ID("agentId", f.AgentID)
	bad.ID("policyId", f.PolicyID)
	checkRepository(&bad, f.Repository)
	agentidp.OneOf(&bad, "code", f.Code, agentidp.DecisionCodes...)
	agentidp.OneOf(&bad, "type", f.Type, agentidp.EventTypes...)
	checkPeriod(&bad, f.Since, f.Until)
	return bad
}

func checkRepository(bad *agentidp.FieldErrors, name string) {
	if name != "" && !isRepository(name) {
		bad.Refuse("repository", "must be owner/name, such as acme/deploy")
	}
}

func checkPeriod(bad *agentidp.FieldErrors, since, until time.Time) {
	if !since.IsZero() && !until.IsZero() && !since.Before(until) {
		bad.Refuse("until", "must be later than since")
	}
}

func isNumericID(s string) bool {
	return len(s) <= maxNumericID && strings.Trim(s, "0123456789") == ""
}

// isRepository accepts more than the names that a policy may have: a decision holds
// what came, and most of what is refused comes from elsewhere.
func isRepository(s string) bool {
	strange := func(r rune) bool { return !unicode.IsGraphic(r) || unicode.IsSpace(r) }
	return len(s) <= maxRepository && utf8.ValidString(s) && !strings.ContainsFunc(s, strange) &&
		strings.Contains(strings.Trim(s, "/"), "/")
}
