package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sentryagent/agentidp"
)

func TestAnObjectIsReadFromAFile(t *testing.T) {
	t.Parallel()
	policy := agentidp.TrustPolicySpec{Provider: "github", Repository: "acme/deploy", Events: []string{"push"}, TokenTTLSeconds: 300}
	for _, tt := range []struct {
		name, file string
		want       agentidp.TrustPolicySpec
	}{
		{"JSON", `{"provider": "github", "repository": "acme/deploy", "events": ["push"], "tokenTtlSeconds": 300}`, policy},
		{"YAML", "# who may deploy\nprovider: github\nrepository: acme/deploy\nevents: [push]\ntokenTtlSeconds: 300\n", policy},
		{"YAML that begins like JSON", "{provider: github, repository: acme/deploy, # who may deploy\n events: [push], tokenTtlSeconds: 300}\n", policy},
		{"text that looks like a day stays text", "branch: 2026-11-21\n", agentidp.TrustPolicySpec{Branch: "2026-11-21"}},
		{"text that looks like a word of YAML 1.1 too", "branch: on\n", agentidp.TrustPolicySpec{Branch: "on"}},
		{"a member that is null says nothing", "branch: null\n", agentidp.TrustPolicySpec{}},
	} {
		for _, from := range []string{"-", filepath.Join(t.TempDir(), "object")} {
			if from != "-" {
				if err := os.WriteFile(from, []byte(tt.file), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			o, err := (&Body{File: from}).read(&IO{In: strings.NewReader(tt.file)})
			if err != nil {
				t.Errorf("%s: %v", tt.name, err)
				continue
			}
			got, err := as[agentidp.TrustPolicySpec](o)
			if err != nil || cmp.Diff(tt.want, *got) != "" {
				t.Errorf("%s: %v %s", tt.name, err, cmp.Diff(&tt.want, got))
			}
		}
	}
}

// A file that is not meant is refused whole, and only names of members are repeated:
// it may be a secret.
func TestFilesThatAreRefused(t *testing.T) {
	t.Parallel()
	const typo = "repositry: there is no such member; did you mean repository?"
	for _, tt := range []struct{ name, file, want string }{
		{"nothing", " \n", "it is empty"},
		{"a token", "eyJhbGciOiJub25lIn0.hunter2.", "it is no object"},
		{"a list", "- branch: hunter2\n", "it is no object"},
		{"half a JSON object", `{"branch": "hunter2"`, "it begins like JSON and is none"},
		{"a JSON name twice", `{"branch": "hunter2", "branch": "main"}`, "it begins like JSON and is none: duplicate name"},
		{"a YAML name twice", "branch: hunter2\nbranch: main\n", "line 2: branch is said twice"},
		{"two documents", "branch: hunter2\n---\nbranch: main\n", "more than one YAML document"},
		{"YAML that is none", "branch: [hunter2\n", "line 1"},
		{"an alias", "branch: &b hunter2\ntag: *b\n", "line 2: aliases are not taken"},
		{"an alias of nothing", "branch: *hunter2\n", "an alias that names nothing"},
		{"a name that is no text", "1: hunter2\n", "line 1: the name of a member must be text"},
		{"a tag of YAML", "branch: !!binary aHVudGVyMg==\n", "line 1: it is neither text, number"},
		{"what JSON cannot say", "tokenTtlSeconds: .inf\n", "line 1: it is neither"},
		{"too deep", strings.Repeat("[", 20) + strings.Repeat("]", 20), "it is no object"},
		{"too deep in a member", "events: " + strings.Repeat("[", 20) + strings.Repeat("]", 20), "line 1: it is nested too deeply"},
		{"too large", "description: " + strings.Repeat("x", maxFile), "larger than 64 KiB"},
		{"a typing error", "repositry: hunter2\n", typo},
		{"two of them, both named", "repositry: hunter2\nevents: hunter2\n", "events: it must be a list\n" + typo},
		{"another case", "Branch: hunter2\n", "Branch: there is no such member; did you mean branch?"},
		{"a number where text belongs", "repositoryId: 74\n", "repositoryId: it must be text; put it in quotes"},
		{"text where a number belongs", "maxAgents: hunter2\n", "maxAgents: it must be a whole number"},
		{"half a number", "maxAgents: 1.5\n", "maxAgents: it must be a whole number"},
		{"text where true or false belongs", "trustRegisteredAgents: hunter2\n", "trustRegisteredAgents: it must be true or false"},
		{"a list of nothing, which would be the default list", "events: []\n", "events: it is empty or zero"},
		{"none, which would be ten", "maxAgents: 0\nbranch: \"\"\n", "branch: it is empty or zero, which would be taken for the default; leave it out, or give a value\nmaxAgents: it is empty or zero"},
		{"no instant", "expiresAt: hunter2\n", "expiresAt: it must be an instant such as 2026-11-21T12:00:00Z"},
		{"a condition that is neither text nor a list", "claims:\n  team: {hunter2: x}\n", "claims: the value of a claim is a string or a list of strings"},
		{"nothing like a member", "completely: hunter2\n", "completely: there is no such member; there are provider, repository, branch,"},
	} {
		o, err := (&Body{File: "-"}).read(&IO{In: strings.NewReader(tt.file)})
		if err == nil {
			_, err = as[agentidp.TrustPolicySpec](o)
		}
		if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v\nwant\n%s", tt.name, err, tt.want)
		}
	}
	if _, err := (&Body{File: filepath.Join(t.TempDir(), "none")}).read(&IO{}); err == nil || !strings.Contains(err.Error(), "--file: open ") {
		t.Errorf("a file that is not there: %v", err)
	}
}
