package cli

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/sentryagent/agentidp"
)

func TestAnObjectIsShownAMemberALine(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, doc, want string }{
		{"values stand in a column", `{"id": "1", "repository": "acme/deploy"}`, "id:         1\nrepository: acme/deploy\n"},
		{"in the order of the document", `{"b": 1.50, "a": true, "c": null}`, "b: 1.50\na: true\nc: null\n"},
		{"a list of words is a line", `{"events": ["push", "release"], "ids": [1, 2], "none": []}`, "events: push, release\nids:    1, 2\nnone:   \n"},
		{"an object is indented", `{"pinned": {"id": "74", "owner": "65"}, "revision": 3}`, "pinned:\n  id:    74\n  owner: 65\nrevision: 3\n"},
		{"so is a list of objects", `{"keys": [{"kid": "a", "alg": "ES256"}, {"kid": "b"}]}`, "keys:\n  - kid: a\n    alg: ES256\n  - kid: b\n"},
		{"nothing in it commands the terminal", `{"na\u001bme": "a\u001b[2J", "list": ["b\u202e"]}`, "na?me: a?[2J\nlist:  b?\n"},
	} {
		var out strings.Builder
		if err := writeView(&out, json.RawMessage(tt.doc)); err != nil || out.String() != tt.want {
			t.Errorf("%s: %v\n%s\nwant\n%s", tt.name, err, out.String(), tt.want)
		}
		checkPlain(t, tt.name, out.String())
	}
}

func TestADecisionSaysWhichCheckFailed(t *testing.T) {
	t.Parallel()
	d := &agentidp.Decision{ID: "1", Checks: []agentidp.Check{
		{Check: "issuer", Got: "known", OK: true},
		{PolicyID: "2", Check: "repository", Claim: "repository", Expected: "acme/deploy", Got: "acme/deploy", OK: true},
		{PolicyID: "2", Check: "ref", Claim: "ref", Expected: "refs/heads/main", Got: "refs/heads/d\x1bv"},
		{PolicyID: "3", Check: "mode", Expected: "enforce", Got: "disabled"},
		{PolicyID: "4", Check: "mode", Expected: "enforce", Got: "enforce", OK: true},
		{PolicyID: "4", Check: "agent", Expected: "a", Got: "b"},
		{PolicyID: "4", Check: "event", Expected: "push", Got: "fork"},
		{PolicyID: "5", Check: "scope", Expected: "deploy:staging", OK: true},
		{PolicyID: "5", Check: "audience", Expected: "https://a.example"},
		{PolicyID: "5", Check: "environment", Expected: "production"},
	}, Nearest: &agentidp.Miss{PolicyID: "5"}}
	const want = `  ok    issuer       "known"
policy 5, the nearest
  ok    scope        not asked for
  FAIL  audience     not asked for, expected "https://a.example"
  FAIL  environment  "", expected "production"
policy 2
  ok    repository   repository "acme/deploy"
  FAIL  ref          ref "refs/heads/d\x1bv", expected "refs/heads/main"
policy 3
  FAIL  mode         "disabled", expected "enforce"
policy 4
  FAIL  agent        "b", expected "a"`
	if got := strings.Join(checksOf(d), "\n"); got != want {
		t.Errorf("\n%s\nwant\n%s", got, want)
	}
}
