package providers

import (
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sentryagent/agentidp"
)

func TestTheKindOfGitHub(t *testing.T) {
	t.Parallel()
	kinds, err := Kinds()
	if err != nil {
		t.Fatal(err)
	}
	k := kinds["github"]
	if k == nil {
		t.Fatalf("the kinds are %v", slices.Collect(maps.Keys(kinds)))
	}
	if k.MaxTokenAge != time.Hour || !slices.Equal(k.Algorithms, []string{"RS256"}) {
		t.Errorf("got %s, %q", k.MaxTokenAge, k.Algorithms)
	}
	for _, claim := range []agentidp.Claim{agentidp.ClaimRepositoryID, agentidp.ClaimRepositoryOwnerID, agentidp.ClaimTokenID} {
		if !slices.Contains(k.Required, claim) {
			t.Errorf("%s is not required", claim)
		}
	}
	if k.ClaimNames[agentidp.ClaimEvent] != "event_name" {
		t.Errorf("the event is read from %q", k.ClaimNames[agentidp.ClaimEvent])
	}
	if want := []string{"push", "workflow_dispatch", "schedule", "repository_dispatch", "release", "deployment"}; !slices.Equal(k.DefaultEvents, want) {
		t.Errorf("default events %q", k.DefaultEvents)
	}
	for _, event := range []string{"pull_request", "pull_request_target", "workflow_run", "issue_comment", "merge_group"} {
		if k.OutsiderEvent[event].Why == "" {
			t.Errorf("nothing is known against %s", event)
		}
	}
}

// Every claim that AgentIdP reads is somewhere in GitHub's tokens, and the subject
// is not among them.
func TestGitHubHasEveryClaim(t *testing.T) {
	t.Parallel()
	kinds, err := Kinds()
	if err != nil {
		t.Fatal(err)
	}
	names := kinds["github"].ClaimNames
	if len(names) != 14 {
		t.Errorf("%d claims", len(names))
	}
	for ours, theirs := range names {
		if ours == "sub" || theirs == "sub" {
			t.Errorf("%s is read from %s", ours, theirs)
		}
	}
}

// The subject of an issuer that nothing is known about is all that identifies, and
// is no claim that a policy for GitHub may rest on.
func TestTheKindOIDC(t *testing.T) {
	t.Parallel()
	kinds, err := Kinds()
	if err != nil {
		t.Fatal(err)
	}
	k := kinds["oidc"]
	if k == nil {
		t.Fatalf("the kinds are %v", slices.Collect(maps.Keys(kinds)))
	}
	if k.Issuer != "" || k.JWKSPath != "" || k.MaxTokenAge != time.Hour || !slices.Equal(k.Algorithms, []string{"RS256", "ES256"}) {
		t.Errorf("got %q, %q, %s, %q", k.Issuer, k.JWKSPath, k.MaxTokenAge, k.Algorithms)
	}
	if len(k.Required) != 0 || len(k.DefaultEvents) != 0 || len(k.OutsiderEvent) != 0 || len(k.ClaimNames) != 1 || !k.Has(agentidp.ClaimTokenID) {
		t.Errorf("got %+v", k)
	}
	if !slices.Equal(k.IdentityClaims, []string{"sub"}) || k.UnsafeClaims["sub"] != "" {
		t.Errorf("identified by %q, unsafe are %v", k.IdentityClaims, k.UnsafeClaims)
	}
	if g := kinds["github"]; !slices.Equal(g.IdentityClaims, []string{"repository_id", "repository_owner_id"}) || g.UnsafeClaims["sub"] == "" {
		t.Errorf("GitHub's are identified by %q, unsafe are %v", g.IdentityClaims, g.UnsafeClaims)
	}
}

func TestGitHub(t *testing.T) {
	t.Parallel()
	kinds, err := Kinds()
	if err != nil {
		t.Fatal(err)
	}
	for given, want := range map[string]string{
		"":                                     "https://token.actions.githubusercontent.com",
		"https://ghes.example/_services/token": "https://ghes.example/_services/token",
		"http://127.0.0.1:8181/":               "http://127.0.0.1:8181/",
	} {
		p := GitHub(kinds["github"], given)
		if p.ID != "" || p.Name != "github" || p.Kind != "github" || p.Issuer != want || p.JWKSURI != want+"/.well-known/jwks" ||
			p.Replay != agentidp.ReplayReject || p.MaxTokenAge != time.Hour || !slices.Equal(p.Algorithms, []string{"RS256"}) {
			t.Errorf("%q: %+v", given, p)
		}
	}
}

const good = `name: x
issuer: https://ci.example
jwksPath: /keys
algorithms: [ES256]
maxTokenAge: 10m
claims: {repository: repo, event: why, jti: jti}
required: [jti]
identityClaims: [sub, repo]
unsafeClaims: {nickname: anybody}
personClaims: {user: somebody}
defaultEvents: [push]
outsiderEvents: {pull_request: {forkReachable: true, why: because}}
eventRefs: {release: tag}
`

func TestParseKind(t *testing.T) {
	t.Parallel()
	k, err := parseKind("x", []byte(good))
	if err != nil {
		t.Fatal(err)
	}
	if k.Name != "x" || k.JWKSPath != "/keys" || k.MaxTokenAge != 10*time.Minute || k.ClaimNames[agentidp.ClaimRepository] != "repo" {
		t.Errorf("got %+v", k)
	}
}

func TestParseKindRefuses(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, old, new, want string }{
		{"an unknown field", "jwksPath", "jwks", "field jwks not found"},
		{"another name than the file's", "name: x", "name: y", "name:"},
		{"an issuer without https", "https://ci", "http://ci", "issuer:"},
		{"an issuer with a trailing slash", "ci.example", "ci.example/", "issuer:"},
		{"an issuer with a query", "ci.example", "ci.example?a=b", "issuer:"},
		{"a path without a slash", "/keys", "keys", "jwksPath:"},
		{"no algorithm", "[ES256]", "[]", "algorithms:"},
		{"a life of nothing", "10m", "0s", "maxTokenAge:"},
		{"a life without a unit", "10m", "ten", "cannot unmarshal"},
		{"a claim of ours that is none", "{repository: repo", "{repo: repo", `"repo" is no claim`},
		{"a claim that the verifier reads", "repo,", "aud,", `cannot be read from "aud"`},
		{"the subject", "repo,", "sub,", `cannot be read from "sub"`},
		{"one claim twice", "repo,", "jti,", "is both"},
		{"a required claim that is not mapped", "[jti]", "[ref]", "required:"},
		{"no default event", "[push]", "[]", "defaultEvents:"},
		{"an empty default event", "[push]", `[push, ""]`, "defaultEvents:"},
		{"default events without a claim", "event: why, ", "", "defaultEvents:"},
		{"outsiders' events without a claim", "event: why, ", "", "outsiderEvents:"},
		{"a default issuer without a path", "/keys", `""`, "jwksPath:"},
		{"nothing that identifies", "[sub, repo]", "[]", "identityClaims: none"},
		{"an audience that identifies", "[sub, repo]", "[aud]", `"aud" identifies nobody`},
		{"an empty name that identifies", "[sub, repo]", `[""]`, `"" identifies nobody`},
		{"what identifies, twice", "[sub, repo]", "[sub, sub]", "twice"},
		{"what identifies and is unsafe", "[sub, repo]", "[nickname]", "is unsafe"},
		{"an unsafe claim without a reason", "anybody", `""`, "unsafeClaims:"},
		{"a person who identifies", "[sub, repo]", "[user]", "or a person's"},
		{"a person's claim without a reason", "somebody", `""`, "personClaims:"},
		{"a person's claim that is unsafe, too", "user:", "nickname:", "personClaims:"},
		{"an outsider's event among the defaults", "[push]", "[pull_request]", "is a default event"},
		{"an outsider's event without a reason", "because", `""`, "says not why"},
		{"an event for a ref that is none", "eventRefs: {release: tag}", "eventRefs: {release: tags}", "eventRefs:"},
		{"a ref of an event without a name", "eventRefs: {release: tag}", `eventRefs: {"": tag}`, "eventRefs:"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			data := strings.Replace(good, tt.old, tt.new, 1)
			if data == good {
				t.Fatal("the test changes nothing")
			}
			_, err := parseKind("x", []byte(data))
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %s", err, tt.want)
			}
		})
	}
}

// The page on back-tests says of each kind what is kept of a token, and nothing else: an
// operator who reads it knows.
func TestWhatIsRecordedIsDocumented(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../docs/backtest.md")
	if err != nil {
		t.Fatal(err)
	}
	kinds, err := Kinds()
	if err != nil {
		t.Fatal(err)
	}
	for name, kind := range kinds {
		if row := "| `" + name + "` | `" + strings.Join(kind.RecordedClaims, "`, `") + "` |"; !strings.Contains(string(page), row) {
			t.Errorf("docs/backtest.md has no row %s", row)
		}
		for _, claim := range kind.RecordedClaims {
			if !kind.Knows(claim) || strings.HasPrefix(claim, "actor") {
				t.Errorf("%s keeps %s, which its tokens do not have or which is about a person", name, claim)
			}
		}
	}
}
