package strictjson_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/sentryagent/agentidp/internal/strictjson"
)

// FuzzMembers checks that this package accepts a part of what encoding/json
// accepts, and that both see the same names and strings in it.
func FuzzMembers(f *testing.F) {
	for _, s := range []string{
		`{}`, `{"a":1,"\u0062":"\ud83d\ude00","c":[{"d":null}]}`, `{"a":1,"a":2}`, `{"a":1e400}`, "{\"a\":\"\xff\"}",
		`{"iss":"https://token.actions.githubusercontent.com","exp":1795000000.5,"aud":["x"]}`, `{"A":{},"a":[]} `,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		got := map[string][]byte{}
		err := strictjson.Members(data, 16, func(name string, value []byte) error {
			if _, ok := got[name]; ok {
				t.Fatalf("%q came twice", name)
			}
			got[name] = value
			return nil
		})
		if err != nil {
			return
		}
		var want map[string]json.RawMessage
		if err := json.Unmarshal(data, &want); err != nil {
			t.Fatalf("encoding/json refuses what Members accepts: %v", err)
		}
		if len(got) != len(want) {
			t.Fatalf("%d members, encoding/json has %d", len(got), len(want))
		}
		for name, value := range got {
			if string(want[name]) != string(value) {
				t.Fatalf("%q: %s, encoding/json has %s", name, value, want[name])
			}
			if err := strictjson.Valid(value, 16); err != nil {
				t.Fatalf("%q: its value is refused on its own: %v", name, err)
			}
			checkString(t, value)
		}
	})
}

func checkString(t *testing.T, value []byte) {
	t.Helper()
	got, err := strictjson.String(value)
	if isString := strings.HasPrefix(string(value), `"`); isString != (err == nil) {
		t.Fatalf("String(%s): %v", value, err)
	}
	var want string
	if err == nil && (json.Unmarshal(value, &want) != nil || got != want) {
		t.Fatalf("String(%s) = %q, encoding/json has %q", value, got, want)
	}
}
