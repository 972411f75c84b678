package policy

import (
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/condition"
)

// An expression is the condition of a policy, compiled when it is asked for first: a
// provider may have a thousand policies without a repository, of which an exchange meets
// one.
type expression func() (*condition.Condition, error)

func compileCondition(p *agentidp.TrustPolicy, kind *agentidp.ProviderKind) expression {
	if p.Condition == "" {
		return nil
	}
	return sync.OnceValues(func() (*condition.Condition, error) { return condition.Compile(p.Condition, kind) })
}

// meetsCondition reports whether the expression is true. One without a value is not, nor
// is one that was stored when the server took it and that it takes no longer.
func (c *Compiled) meetsCondition(r *request) bool {
	return c.expression == nil || r.evaluate(c).holds
}

// A verdict is what came of an expression.
type verdict struct {
	holds   bool
	reads   []string // the claims
	err     error    // why there is no value
	invalid error    // why there is no expression
}

// maxVerdicts bounds how many verdicts are kept of one exchange.
const maxVerdicts = 2 * maxTraced

// evaluate is for policies that have a condition. Deciding by one and telling of it both
// ask what came of it, and that costs more than all the rest.
func (r *request) evaluate(c *Compiled) (v verdict) {
	if v, ok := r.verdicts[c]; ok {
		return v
	}
	var e *condition.Condition
	if e, v.invalid = c.expression(); v.invalid == nil {
		v.reads = e.Claims()
		v.holds, v.err = e.Holds(r.Claims.Source)
	}
	if r.keeps && len(r.verdicts) < maxVerdicts {
		if r.verdicts == nil {
			r.verdicts = make(map[*Compiled]verdict, 1)
		}
		r.verdicts[c] = v
	}
	return v
}

// show returns the claims that were read, and why there is no value, if there is none.
func (v *verdict) show(r *request) string {
	if v.invalid != nil {
		return "not evaluated: " + v.invalid.Error()
	}
	shown := make([]string, 0, len(v.reads))
	for _, name := range v.reads {
		value, _ := r.spelled(name)
		shown = append(shown, plain(name)+" is "+plain(value))
	}
	list := strings.Join(shown, ", ")
	if v.err != nil {
		return v.err.Error() + " (" + list + ")"
	}
	return list
}

// traceCondition is trace for the expression.
func traceCondition(checks []agentidp.Check, c *Compiled, r *request) []agentidp.Check {
	if c.expression == nil {
		return checks
	}
	v := r.evaluate(c)
	return append(checks, agentidp.Check{
		PolicyID: c.Policy.ID, Check: checkCondition,
		Expected: clip(c.Policy.Condition, maxShown), Got: clip(v.show(r), maxShown), OK: v.holds,
	})
}

// spelled returns a claim as it is compared or, where it is a list or an object, as JSON.
func (r *request) spelled(name string) (string, bool) {
	if value, ok := r.Claims.Read(name); ok {
		return value, true
	}
	raw := string(r.Claims.ReadJSON(name))
	return raw, raw != "" && raw != "null"
}

// condition checks the expression as it was written. What the provider's tokens have is
// not known where the provider is not.
func (p *problems) condition(text string, kind *agentidp.ProviderKind) {
	if text == "" || kind == nil {
		return
	}
	if _, err := condition.Compile(unixLines(text), kind); err != nil {
		p.add("condition", "cannot be used: %s", err)
	}
}

// normalCondition is the expression without what its editor put around it.
func normalCondition(text string) string { return strings.TrimSpace(unixLines(text)) }

func unixLines(text string) string { return strings.ReplaceAll(text, "\r\n", "\n") }

// conditionWarnings returns what is weak about the expression of a stored policy.
func conditionWarnings(p *agentidp.TrustPolicy, kind *agentidp.ProviderKind) []agentidp.Warning {
	if p.Condition == "" {
		return nil
	}
	c, err := condition.Compile(p.Condition, kind)
	if err != nil {
		return []agentidp.Warning{{Code: warnConditionInvalid, Message: fmt.Sprintf("The condition is none that this server takes, so the policy grants nothing: %s Replace the policy.", sentence(err))}}
	}
	var warnings []agentidp.Warning
	for _, name := range c.Claims() {
		if why := kind.UnsafeClaims[name]; why != "" {
			warnings = append(warnings, agentidp.Warning{Code: warnUnsafeClaim, Message: fmt.Sprintf("The condition reads the claim %s, which cannot be relied on. %s", name, why)})
		}
		if why := kind.PersonClaims[name]; why != "" {
			warnings = append(warnings, agentidp.Warning{Code: warnUnsafeClaim, Message: fmt.Sprintf("The condition reads the claim %s. %s", name, why)})
		}
	}
	for _, name := range c.Unknown() {
		warnings = append(warnings, agentidp.Warning{Code: warnUnknownClaim, Message: fmt.Sprintf(
			"The condition reads the claim %s, which is none that tokens of kind %s are known to have; where it is absent, a comparison with it has no value. %sCheck its name.", plain(name), kind.Name, claimMeant(name, kind))})
	}
	return warnings
}

// sentence ends an error as a sentence.
func sentence(err error) string {
	if e := new(condition.Error); errors.As(err, &e) {
		return err.Error()
	}
	return err.Error() + "."
}
