package policy

import (
	"errors"
	"fmt"
	"strings"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/condition"
	"github.com/sentryagent/agentidp/internal/nearest"
)

// An expression is the condition of a policy as it is compiled, with why it is not.
type expression struct {
	*condition.Condition
	invalid error
}

func compileCondition(p *agentidp.TrustPolicy, kind *agentidp.ProviderKind) (e expression) {
	if p.Condition != "" {
		e.Condition, e.invalid = condition.Compile(p.Condition, kind)
	}
	return e
}

// meetsCondition reports whether the expression is true. One without a value is not, nor
// is one that was stored when the server took it and that it takes no longer.
func (c *Compiled) meetsCondition(r *request) bool {
	if c.Policy.Condition == "" {
		return true
	}
	return c.expression.invalid == nil && r.evaluate(c).holds
}

// A verdict is what came of an expression. The last one is kept, because a trace needs
// what the decision found.
type verdict struct {
	of     *Compiled
	claims *agentidp.Claims
	holds  bool
	err    error
}

func (r *request) evaluate(c *Compiled) *verdict {
	if v := &r.last; v.of != c || v.claims != r.Claims {
		holds, err := c.expression.Holds(r.Claims.Source)
		*v = verdict{c, r.Claims, holds && err == nil, err}
	}
	return &r.last
}

// showCondition returns the expression, and the claims that it reads with why it has no
// value, if it has none.
func (c *Compiled) showCondition(r *request) (expected, got string) {
	switch {
	case c.Policy.Condition == "":
		return "", ""
	case c.expression.invalid != nil:
		return c.Policy.Condition, "not evaluated: " + c.expression.invalid.Error()
	}
	shown := make([]string, 0, len(c.expression.Claims()))
	for _, name := range c.expression.Claims() {
		value, _ := r.spelled(name)
		shown = append(shown, plain(name)+" is "+plain(value))
	}
	got = strings.Join(shown, ", ")
	if err := r.evaluate(c).err; err != nil {
		got = err.Error() + " (" + got + ")"
	}
	return c.Policy.Condition, got
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
	}
	for _, name := range c.Unknown() {
		meant := ""
		if n, ok := nearest.Name(name, possibleClaims(kind)); ok {
			meant = "Is " + n + " meant? "
		}
		warnings = append(warnings, agentidp.Warning{Code: warnUnknownClaim, Message: fmt.Sprintf(
			"The condition reads the claim %s, which is none that tokens of kind %s are known to have; where it is absent, a comparison with it has no value. %sCheck its name.", plain(name), kind.Name, meant)})
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
