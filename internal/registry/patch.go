package registry

import (
	"bytes"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"

	"github.com/sentryagent/agentidp"
)

// immutableAgentFields are members of an agent that no patch may change. The
// name is one: a repository's next registration is recognized by it.
var immutableAgentFields = []string{"agentId", "name", "status", "registeredBy", "createdAt", "updatedAt", "revision"}

// mergeAgent returns spec after a JSON merge patch (RFC 7396): null removes, a
// list replaces, labels merge by name. The patch is strict JSON already.
func mergeAgent(spec agentidp.AgentSpec, patch []byte) (agentidp.AgentSpec, error) {
	var members map[string]json.RawMessage
	if err := json.Unmarshal(patch, &members); err != nil || members == nil {
		return spec, agentidp.InvalidFields(agentidp.FieldError{Field: "body", Reason: "must be a JSON object (RFC 7396)"})
	}
	setters := map[string]func(json.RawMessage) error{
		"description":   merge(&spec.Description),
		"agentType":     mergeChoice(&spec.AgentType),
		"version":       merge(&spec.Version),
		"capabilities":  merge(&spec.Capabilities),
		"audiences":     merge(&spec.Audiences),
		"mayDelegateTo": merge(&spec.MayDelegateTo),
		"owner":         merge(&spec.Owner),
		"deploymentEnv": mergeChoice(&spec.DeploymentEnv),
		"labels":        mergeLabels(&spec.Labels),
	}
	var bad []agentidp.FieldError
	for _, name := range slices.Sorted(maps.Keys(members)) {
		set, ok := setters[name]
		reason := ""
		var err error
		if ok {
			err = set(members[name])
		}
		switch {
		case !ok && slices.Contains(immutableAgentFields, name):
			reason = "cannot be changed; leave it out"
		case !ok:
			reason = "is not a member of an agent; it can change " + strings.Join(slices.Sorted(maps.Keys(setters)), ", ")
		case errors.Is(err, errEmpty):
			reason = errEmpty.Error()
		case err != nil:
			reason = "has the wrong type"
		}
		if reason != "" {
			bad = append(bad, agentidp.FieldError{Field: name, Reason: reason})
		}
	}
	normalizeAgent(&spec)
	for _, e := range validateAgent(&spec) {
		if !slices.ContainsFunc(bad, func(other agentidp.FieldError) bool { return other.Field == e.Field }) {
			bad = append(bad, e)
		}
	}
	if len(bad) > 0 {
		return spec, agentidp.InvalidFields(bad...)
	}
	return spec, nil
}

// merge replaces a field, or clears it for null. It never writes into what the
// old value shares with others.
func merge[T any](field *T) func(json.RawMessage) error {
	return func(value json.RawMessage) error {
		var v T
		if bytes.Equal(value, []byte("null")) {
			*field = v
			return nil
		}
		err := json.Unmarshal(value, &v)
		*field = v
		return err
	}
}

var errEmpty = errors.New("is empty; give a value, or null for the default")

// mergeChoice is merge for one of several words, of which "" is none.
func mergeChoice[T ~string](field *T) func(json.RawMessage) error {
	return func(value json.RawMessage) error {
		if bytes.Equal(value, []byte(`""`)) {
			return errEmpty
		}
		return merge(field)(value)
	}
}

func mergeLabels(labels *map[string]string) func(json.RawMessage) error {
	return func(value json.RawMessage) error {
		var patch map[string]*string
		if err := json.Unmarshal(value, &patch); err != nil {
			return err
		}
		if patch == nil { // null removes them all
			*labels = nil
			return nil
		}
		merged := maps.Clone(*labels)
		if merged == nil {
			merged = map[string]string{}
		}
		for name, v := range patch {
			if v == nil {
				delete(merged, name)
			} else {
				merged[name] = *v
			}
		}
		*labels = merged
		return nil
	}
}
