package policy

import (
	"slices"
	"time"

	"github.com/sentryagent/agentidp"
)

// defaultMaxAgents is how many living agents a bootstrap policy may register
// where it does not say.
const defaultMaxAgents = 10

// Normalize returns the effective form of a policy, in which it is stored:
// defaults are filled in, events, scopes and the values of claims sorted and without repetition, times
// in UTC at the precision of the database. Audiences keep their order, for the
// first is the default. The result shares no memory with spec. Names are left
// as they were written.
//
// Validate looks at what was written; call it first, so that a field's error
// counts list elements as their author does.
func Normalize(spec agentidp.TrustPolicySpec, kind *agentidp.ProviderKind) agentidp.TrustPolicySpec {
	spec.Events = set(spec.Events)
	if len(spec.Events) == 0 && kind != nil {
		spec.Events = set(kind.DefaultEvents)
	}
	spec.Claims = normalizeClaims(spec.Claims)
	spec.Condition = normalCondition(spec.Condition)
	spec.Scopes = set(spec.Scopes)
	spec.Audiences = append([]string(nil), spec.Audiences...)
	if spec.Mode == "" {
		spec.Mode = agentidp.ModeEnforce
	}
	if spec.Bootstrap() && spec.MaxAgents == 0 {
		spec.MaxAgents = defaultMaxAgents
	}
	if spec.ExpiresAt != nil {
		t := stored(*spec.ExpiresAt)
		spec.ExpiresAt = &t
	}
	return spec
}

func normalizeClaims(claims agentidp.ClaimConditions) agentidp.ClaimConditions {
	if len(claims) == 0 {
		return nil
	}
	normal := make(agentidp.ClaimConditions, len(claims))
	for name, values := range claims {
		normal[name] = set(values)
	}
	return normal
}

// set returns a sorted copy without repetition; nil for no elements.
func set(list []string) []string {
	if len(list) == 0 {
		return nil
	}
	return slices.Compact(slices.Sorted(slices.Values(list)))
}

// stored returns an instant as the database returns it.
func stored(t time.Time) time.Time { return time.UnixMicro(t.UnixMicro()).UTC() }
