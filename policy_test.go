package agentidp_test

import (
	"encoding/json"
	"reflect"
	"testing"

	"github.com/sentryagent/agentidp"
)

func TestTheValuesOfAClaimAreAStringOrAList(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		text      string
		values    agentidp.ClaimValues // nil: it cannot be read
		canonical string
	}{
		{`"a"`, agentidp.ClaimValues{"a"}, `"a"`},
		{`""`, agentidp.ClaimValues{""}, `""`},
		{`["a"]`, agentidp.ClaimValues{"a"}, `"a"`},
		{`["b", "a"]`, agentidp.ClaimValues{"b", "a"}, `["b","a"]`},
		{`[]`, agentidp.ClaimValues{}, `[]`},
		{`null`, nil, ""},
		{`1`, nil, ""},
		{`true`, nil, ""},
		{`{"a": "b"}`, nil, ""},
		{`["a", null]`, nil, ""},
		{`["a", 1]`, nil, ""},
		{`[["a"]]`, nil, ""},
	} {
		var conditions agentidp.ClaimConditions
		err := json.Unmarshal([]byte(`{"x": `+tt.text+`}`), &conditions)
		if tt.values == nil {
			if err == nil {
				t.Errorf("%s is read as %q", tt.text, conditions)
			}
			continue
		}
		if err != nil || !reflect.DeepEqual(conditions["x"], tt.values) {
			t.Errorf("%s is read as %q, %v", tt.text, conditions, err)
		}
		if text, err := json.Marshal(conditions); err != nil || string(text) != `{"x":`+tt.canonical+`}` {
			t.Errorf("%s is written as %s, %v", tt.text, text, err)
		}
	}
}
