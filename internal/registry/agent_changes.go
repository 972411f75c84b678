package registry

import (
	"fmt"
	"maps"
	"reflect"
	"strings"

	"github.com/sentryagent/agentidp"
)

// agentChanges is what the audit log keeps of a change: the names of the members that
// changed, and of the lists that say what an agent reaches, and who reaches through it,
// what came and what went. It is empty where nothing changed.
func agentChanges(old, spec *agentidp.AgentSpec) map[string]string {
	data := agentReach(old, spec)
	before, after := reflect.ValueOf(*old), reflect.ValueOf(*spec)
	var names []string
	for i := range before.NumField() {
		if !reflect.DeepEqual(before.Field(i).Interface(), after.Field(i).Interface()) {
			name, _, _ := strings.Cut(before.Type().Field(i).Tag.Get("json"), ",")
			names = append(names, name)
		}
	}
	if names != nil {
		data["changed"] = strings.Join(names, " ")
	}
	return data
}

// agentReach says what came to the lists by which an agent reaches further, and what went.
func agentReach(old, spec *agentidp.AgentSpec) map[string]string {
	data := map[string]string{}
	for name, lists := range map[string][2][]string{
		"capabilities":  {old.Capabilities, spec.Capabilities},
		"audiences":     {old.Audiences, spec.Audiences},
		"mayDelegateTo": {old.MayDelegateTo, spec.MayDelegateTo},
	} {
		if came := added(lists[0], lists[1]); len(came) > 0 {
			data[name+".added"] = boundedList(came)
		}
		if went := added(lists[1], lists[0]); len(went) > 0 {
			data[name+".removed"] = boundedList(went)
		}
	}
	return data
}

// maxListed bounds a list in an event, in bytes. As many delegates as an agent can have
// are within it.
const maxListed = 4000

// boundedList is a list as far as there is room for it, and how many there are beyond.
func boundedList(list []string) string {
	s := ""
	for i, entry := range list {
		if len(s)+len(entry) > maxListed {
			return s + fmt.Sprintf("(and %d more)", len(list)-i)
		}
		s += entry + " "
	}
	return strings.TrimSuffix(s, " ")
}

// withData adds to what an event says.
func withData(e agentidp.Event, data map[string]string) agentidp.Event {
	maps.Copy(e.Data, data)
	return e
}
