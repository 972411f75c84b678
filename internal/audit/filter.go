package audit

import (
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/sentryagent/agentidp"
)

const (
	maxRepository = 256 // bytes
	maxNumericID  = 20  // digits

	notRepository = "must be owner/name, such as acme/deploy"
)

// CheckDecisions returns what is wrong with a filter: one error for every bad
// field. A value that no decision can have is refused: an empty list would say that
// nothing happened.
func CheckDecisions(f agentidp.DecisionFilter) []agentidp.FieldError {
	var c checks
	c.set("repository", f.Repository, isRepository, notRepository)
	c.set("repositoryId", f.RepositoryID, isNumericID, "must be the repository's numeric id, in digits alone")
	c.id("agentId", f.AgentID)
	c.id("policyId", f.PolicyID)
	among(&c, "code", f.Code, agentidp.DecisionCodes)
	among(&c, "outcome", f.Outcome, []agentidp.Outcome{agentidp.OutcomeAllowed, agentidp.OutcomeDenied})
	c.period(f.Since, f.Until)
	return c
}

// CheckEvents is CheckDecisions for events.
func CheckEvents(f agentidp.EventFilter) []agentidp.FieldError {
	var c checks
	c.id("agentId", f.AgentID)
	c.id("policyId", f.PolicyID)
	c.set("repository", f.Repository, isRepository, notRepository)
	among(&c, "code", f.Code, agentidp.DecisionCodes)
	among(&c, "type", f.Type, agentidp.EventTypes)
	c.period(f.Since, f.Until)
	return c
}

type checks []agentidp.FieldError

func (c *checks) refuse(field, reason string) {
	*c = append(*c, agentidp.FieldError{Field: field, Reason: reason})
}

// set refuses a value that is given and not valid.
func (c *checks) set(field, value string, valid func(string) bool, reason string) {
	if value != "" && !valid(value) {
		c.refuse(field, reason)
	}
}

func (c *checks) id(field, value string) {
	c.set(field, value, agentidp.IsID, "is not an id; give the UUID in lower case")
}

func (c *checks) period(since, until time.Time) {
	if !since.IsZero() && !until.IsZero() && !since.Before(until) {
		c.refuse("until", "must be later than since")
	}
}

func among[T ~string](c *checks, field string, value T, all []T) {
	if value != "" && !slices.Contains(all, value) {
		c.refuse(field, fmt.Sprintf("must be one of %v", all))
	}
}

func isNumericID(s string) bool {
	return len(s) <= maxNumericID && strings.Trim(s, "0123456789") == ""
}

// isRepository accepts the names of any provider: what a decision holds is what the
// provider said.
func isRepository(s string) bool {
	strange := func(r rune) bool { return !unicode.IsGraphic(r) || unicode.IsSpace(r) }
	return len(s) <= maxRepository && utf8.ValidString(s) && !strings.ContainsFunc(s, strange) &&
		strings.Contains(strings.Trim(s, "/"), "/")
}
