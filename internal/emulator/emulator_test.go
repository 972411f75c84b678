package emulator_test

import (
	"crypto"
	"encoding/json"
	"maps"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	gojose "github.com/go-jose/go-jose/v4"

	"github.com/sentryagent/agentidp/internal/emulator"
	"github.com/sentryagent/agentidp/internal/jose"
)

const issuer = "http://127.0.0.1:8181"

var now = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

// key is one RSA key for all tests: making one takes longer than the rest.
var key = sync.OnceValue(func() crypto.Signer {
	k, err := jose.GenerateKey(jose.RS256)
	if err != nil {
		panic(err)
	}
	return k
})

func newEmulator(t *testing.T, run emulator.Run) *emulator.Emulator {
	t.Helper()
	e, err := emulator.New(emulator.Config{Issuer: issuer, Key: key(), Run: run, Clock: func() time.Time { return now }})
	if err != nil {
		t.Fatalf("New: %v", err)
	}
	return e
}

func mint(t *testing.T, run emulator.Run, opts emulator.Options) map[string]any {
	t.Helper()
	token, err := newEmulator(t, run).Mint(opts)
	if err != nil {
		t.Fatalf("Mint: %v", err)
	}
	return claims(t, token)
}

// claims verifies a token with an implementation of JOSE that is not ours.
func claims(t *testing.T, token string) map[string]any {
	t.Helper()
	jws, err := gojose.ParseSignedCompact(token, []gojose.SignatureAlgorithm{gojose.RS256})
	if err != nil {
		t.Fatalf("parse the token: %v", err)
	}
	payload, err := jws.Verify(key().Public())
	if err != nil {
		t.Fatalf("verify the token: %v", err)
	}
	var c map[string]any
	if err := json.Unmarshal(payload, &c); err != nil {
		t.Fatalf("decode the claims: %v", err)
	}
	return c
}

func TestATokenHasTheClaimsThatGitHubSends(t *testing.T) {
	t.Parallel()
	got := mint(t, emulator.Run{Repository: "acme/deploy"}, emulator.Options{Audience: "https://idp.example.com"})

	want := map[string]any{
		"iss": issuer, "aud": "https://idp.example.com",
		"iat": float64(now.Unix()), "nbf": float64(now.Unix() - 300), "exp": float64(now.Unix() + 300),
		"sub":        "repo:acme/deploy:ref:refs/heads/main",
		"repository": "acme/deploy", "repository_owner": "acme", "repository_visibility": "private",
		"ref": "refs/heads/main", "ref_type": "branch", "ref_protected": "false", "base_ref": "", "head_ref": "",
		"event_name": "push", "actor": "octocat", "workflow": "CI",
		"workflow_ref":     "acme/deploy/.github/workflows/ci.yml@refs/heads/main",
		"job_workflow_ref": "acme/deploy/.github/workflows/ci.yml@refs/heads/main",
		"workflow_sha":     got["sha"], "job_workflow_sha": got["sha"],
		"run_number": "1", "run_attempt": "1", "runner_environment": "github-hosted",
	}
	for name, value := range want {
		if got[name] != value {
			t.Errorf("%s = %v, want %v", name, got[name], value)
		}
		delete(got, name)
	}
	// What is left has no fixed value but a fixed shape.
	for name, shape := range map[string]string{
		"repository_id": "digits", "repository_owner_id": "digits", "actor_id": "digits",
		"run_id": "digits", "check_run_id": "digits", "sha": "commit", "jti": "id",
	} {
		s, ok := got[name].(string)
		switch digits := strings.Trim(s, "0123456789") == ""; {
		case !ok || s == "":
			t.Errorf("%s = %v, want a string", name, got[name])
		case shape == "digits" && (!digits || s[0] == '0'):
			t.Errorf("%s = %q, want digits", name, s)
		case shape == "commit" && (len(s) != 40 || strings.Trim(s, "0123456789abcdef") != ""):
			t.Errorf("%s = %q, want 40 hexadecimal digits", name, s)
		}
		delete(got, name)
	}
	if len(got) > 0 {
		t.Errorf("claims that GitHub does not send here: %v", slices.Sorted(maps.Keys(got)))
	}
}

func TestSubject(t *testing.T) {
	t.Parallel()
	ids := map[string]any{"repository_owner_id": "65", "repository_id": "74"}
	for _, test := range []struct {
		name string
		run  emulator.Run
		want string
	}{
		{"a branch", emulator.Run{Ref: "refs/heads/main"}, "repo:acme/deploy:ref:refs/heads/main"},
		{"a tag", emulator.Run{Ref: "refs/tags/v1"}, "repo:acme/deploy:ref:refs/tags/v1"},
		{"a pull request hides the ref", emulator.Run{Event: "pull_request"}, "repo:acme/deploy:pull_request"},
		{"pull_request_target looks like the base branch", emulator.Run{Event: "pull_request_target"}, "repo:acme/deploy:ref:refs/heads/main"},
		{"an environment hides the ref", emulator.Run{Environment: "prod"}, "repo:acme/deploy:environment:prod"},
		{"an environment hides a pull request", emulator.Run{Environment: "prod", Event: "pull_request"}, "repo:acme/deploy:environment:prod"},
		{"a colon in an environment is escaped", emulator.Run{Environment: "prod:ref:refs/heads/main"}, "repo:acme/deploy:environment:prod%3Aref%3Arefs/heads/main"},
		{"the immutable form has the ids", emulator.Run{SubFormat: emulator.SubImmutable}, "repo:acme@65/deploy@74:ref:refs/heads/main"},
		{"the immutable form of an environment", emulator.Run{SubFormat: emulator.SubImmutable, Environment: "a:b"}, "repo:acme@65/deploy@74:environment:a%3Ab"},
		{"the immutable form of a pull request", emulator.Run{SubFormat: emulator.SubImmutable, Event: "pull_request"}, "repo:acme@65/deploy@74:pull_request"},
		{"a custom form has no name at all", emulator.Run{SubFormat: emulator.SubCustom}, "repository_owner_id:65:repository_id:74:ref:refs/heads/main"},
		{"a custom form of an environment", emulator.Run{SubFormat: emulator.SubCustom, Environment: "prod"}, "repository_owner_id:65:repository_id:74:environment:prod"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			test.run.Repository, test.run.Claims = "acme/deploy", ids
			c := mint(t, test.run, emulator.Options{})
			if c["sub"] != test.want {
				t.Errorf("sub = %v, want %s", c["sub"], test.want)
			}
			// The claims that count say the same whatever sub looks like (I-05).
			if c["repository"] != "acme/deploy" || c["repository_id"] != "74" || c["repository_owner_id"] != "65" {
				t.Errorf("repository, repository_id, repository_owner_id = %v, %v, %v", c["repository"], c["repository_id"], c["repository_owner_id"])
			}
		})
	}
}

func TestRefAndEventGoTogether(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ name, event, ref, wantRef, wantType, wantHead, wantBase string }{
		{"a push is on main", "", "", "refs/heads/main", "branch", "", ""},
		{"a push of a tag", "push", "refs/tags/main", "refs/tags/main", "tag", "", ""},
		{"a pull request is on its merge ref, which is a branch to GitHub", "pull_request", "", "refs/pull/1/merge", "branch", "patch-1", "main"},
		{"a merged pull request is on its base", "pull_request", "refs/heads/main", "refs/heads/main", "branch", "patch-1", "main"},
		{"pull_request_target is on the base branch", "pull_request_target", "", "refs/heads/main", "branch", "patch-1", "main"},
		{"workflow_run is on the default branch", "workflow_run", "", "refs/heads/main", "branch", "", ""},
		{"a release is on a tag", "release", "", "refs/tags/v1.0.0", "tag", "", ""},
		{"an event that is not known yet", "agent_task", "", "refs/heads/main", "branch", "", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			c := mint(t, emulator.Run{Repository: "acme/deploy", Event: test.event, Ref: test.ref}, emulator.Options{})
			got := [...]any{c["ref"], c["ref_type"], c["head_ref"], c["base_ref"]}
			if want := [...]any{test.wantRef, test.wantType, test.wantHead, test.wantBase}; got != want {
				t.Errorf("ref, ref_type, head_ref, base_ref = %q, want %q", got, want)
			}
			if want := "acme/deploy/.github/workflows/ci.yml@" + test.wantRef; c["workflow_ref"] != want {
				t.Errorf("workflow_ref = %v, want %s", c["workflow_ref"], want)
			}
		})
	}
	queue, _ := mint(t, emulator.Run{Repository: "acme/deploy", Event: "merge_group"}, emulator.Options{})["ref"].(string)
	if !strings.HasPrefix(queue, "refs/heads/gh-readonly-queue/main/pr-1-") {
		t.Errorf("ref of merge_group = %q", queue)
	}
}

func TestIDsBelongToNames(t *testing.T) {
	t.Parallel()
	ids := func(repository, actor string) (repo, owner, by any) {
		c := mint(t, emulator.Run{Repository: repository, Actor: actor}, emulator.Options{})
		return c["repository_id"], c["repository_owner_id"], c["actor_id"]
	}
	repo, owner, actor := ids("acme/deploy", "mona")
	if r, o, a := ids("Acme/Deploy", "Mona"); r != repo || o != owner || a != actor {
		t.Error("another spelling of the same names has other ids")
	}
	if r, o, _ := ids("acme/other", "mona"); r == repo || o != owner {
		t.Error("a second repository must have another id and the same owner")
	}
	if r, o, _ := ids("other/deploy", "mona"); r == repo || o == owner {
		t.Error("another owner's repository of the same name must have other ids")
	}
	if _, o, a := ids("mona/deploy", "mona"); o != a {
		t.Error("an owner who acts must have one id")
	}
}

func TestTokensOfOneRunDiffer(t *testing.T) {
	t.Parallel()
	e := newEmulator(t, emulator.Run{Repository: "acme/deploy"})
	first, err := e.Mint(emulator.Options{})
	if err != nil {
		t.Fatal(err)
	}
	second, err := e.Mint(emulator.Options{})
	if err != nil {
		t.Fatal(err)
	}
	a, b := claims(t, first), claims(t, second)
	if a["jti"] == b["jti"] {
		t.Error("two tokens have the same jti")
	}
	if a["run_id"] != b["run_id"] || a["check_run_id"] != b["check_run_id"] {
		t.Error("two tokens of one job name two runs")
	}
	if a["aud"] != "https://github.com/acme" {
		t.Errorf("aud = %v, want GitHub's default", a["aud"])
	}
}

func TestClaimsCanBeChanged(t *testing.T) {
	t.Parallel()
	run := emulator.Run{
		Repository: "acme/deploy", SubFormat: emulator.SubImmutable,
		Claims: map[string]any{"repository_id": "74", "actor": "mallory", "jti": emulator.Absent, "repo_property_tier": "gold"},
	}
	c := mint(t, run, emulator.Options{Claims: map[string]any{"actor": "eve", "repository_owner_id": json.RawMessage("65"), "exp": json.RawMessage("1.5")}})
	if c["repository_id"] != "74" || c["repo_property_tier"] != "gold" {
		t.Errorf("claims of the run are missing: %v", c)
	}
	if _, ok := c["jti"]; ok {
		t.Error("jti is there although it is Absent")
	}
	if c["actor"] != "eve" {
		t.Errorf("actor = %v: the options must win over the run", c["actor"])
	}
	if c["repository_owner_id"] != 65.0 || c["exp"] != 1.5 {
		t.Errorf("repository_owner_id, exp = %v, %v: JSON must go in as it is", c["repository_owner_id"], c["exp"])
	}
	if want := "repo:acme@/deploy@74:ref:refs/heads/main"; c["sub"] != want {
		t.Errorf("sub = %v, want %s", c["sub"], want)
	}
	if c := mint(t, run, emulator.Options{Claims: map[string]any{"sub": "anything"}}); c["sub"] != "anything" {
		t.Errorf("sub = %v, want what was set", c["sub"])
	}
	if _, ok := mint(t, run, emulator.Options{Claims: map[string]any{"sub": emulator.Absent}})["sub"]; ok {
		t.Error("sub is there although it is Absent")
	}
}

func TestOneEmulatorCanPlayAnotherRun(t *testing.T) {
	t.Parallel()
	c := mint(t, emulator.Run{Repository: "acme/deploy"}, emulator.Options{Run: &emulator.Run{Repository: "evil/fork", Event: "pull_request"}})
	if c["repository"] != "evil/fork" || c["sub"] != "repo:evil/fork:pull_request" || c["aud"] != "https://github.com/evil" {
		t.Errorf("repository, sub, aud = %v, %v, %v", c["repository"], c["sub"], c["aud"])
	}
	if _, err := newEmulator(t, emulator.Run{Repository: "acme/deploy"}).Mint(emulator.Options{Run: &emulator.Run{}}); err == nil {
		t.Error("a run without a repository was played")
	}
}

func TestNewNamesEverythingThatIsWrong(t *testing.T) {
	t.Parallel()
	good := emulator.Run{Repository: "acme/deploy"}
	weak, err := jose.GenerateKey(jose.ES256)
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name string
		cfg  emulator.Config
		want []string
	}{
		{"no issuer", emulator.Config{Run: good}, []string{`issuer: "" is not an absolute`}},
		{"an issuer with a slash", emulator.Config{Issuer: issuer + "/", Run: good}, []string{"ends in a slash"}},
		{"an issuer with a query", emulator.Config{Issuer: issuer + "?a", Run: good}, []string{"user, query or fragment"}},
		{"a key that is not RSA", emulator.Config{Issuer: issuer, Key: weak, Run: good}, []string{"GitHub signs with RSA keys alone"}},
		{"no repository", emulator.Config{Issuer: issuer}, []string{`repository: "" is not owner/name`}},
		{"a repository without an owner", emulator.Config{Issuer: issuer, Run: emulator.Run{Repository: "deploy"}}, []string{"not owner/name"}},
		{"a repository with a folder", emulator.Config{Issuer: issuer, Run: emulator.Run{Repository: "acme/deploy/x"}}, []string{"not owner/name"}},
		{"a repository with a letter that only looks right", emulator.Config{Issuer: issuer, Run: emulator.Run{Repository: "aсme/deploy"}}, []string{"not owner/name"}},
		{"a branch for a ref", emulator.Config{Issuer: issuer, Run: emulator.Run{Repository: "acme/deploy", Ref: "main"}}, []string{"write refs/heads/main for a branch or refs/tags/main for a tag"}},
		{"a ref without a name", emulator.Config{Issuer: issuer, Run: emulator.Run{Repository: "acme/deploy", Ref: "refs/heads/"}}, []string{"not a ref that git allows"}},
		{"a ref with a space", emulator.Config{Issuer: issuer, Run: emulator.Run{Repository: "acme/deploy", Ref: "refs/heads/a b"}}, []string{"not a ref that git allows"}},
		{"an event with a hyphen", emulator.Config{Issuer: issuer, Run: emulator.Run{Repository: "acme/deploy", Event: "pull-request"}}, []string{"such as pull_request"}},
		{"an unknown form of sub", emulator.Config{Issuer: issuer, Run: emulator.Run{Repository: "acme/deploy", SubFormat: "new"}}, []string{"use classic, immutable or custom"}},
		{"a claim that no token can carry", emulator.Config{Issuer: issuer, Run: emulator.Run{Repository: "acme/deploy", Claims: map[string]any{"actor": "\xff"}}}, []string{"claim actor", "not UTF-8"}},
		{"a claim without a name", emulator.Config{Issuer: issuer, Run: emulator.Run{Repository: "acme/deploy", Claims: map[string]any{"": "x"}}}, []string{"not a name"}},
		{"several at once", emulator.Config{Issuer: "x", Run: emulator.Run{Repository: "x", Ref: "x", Environment: "\x00", Actor: "a b"}}, []string{"issuer:", "repository:", "ref:", "environment:", "actor:"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			if test.cfg.Key == nil {
				test.cfg.Key = key()
			}
			_, err := emulator.New(test.cfg)
			if err == nil {
				t.Fatal("no error")
			}
			for _, want := range test.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%v\nlacks %q", err, want)
				}
			}
		})
	}
}

func TestParseClaim(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		arg, name string
		value     any
	}{
		{"repository_id=74", "repository_id", "74"},
		{"ref_protected=true", "ref_protected", "true"},
		{"actor=", "actor", ""},
		{"sub=repo:a/b:ref:refs/heads/x=y", "sub", "repo:a/b:ref:refs/heads/x=y"},
		{"jti:=", "jti", emulator.Absent},
		{"https://example.com/claim=1", "https://example.com/claim", "1"},
	} {
		name, value, err := emulator.ParseClaim(test.arg)
		if err != nil || name != test.name || value != test.value {
			t.Errorf("%s: got %q, %v, %v; want %q, %v", test.arg, name, value, err, test.name, test.value)
		}
	}
	if _, value, err := emulator.ParseClaim(`aud:=["a", 1e400]`); err != nil || string(value.(json.RawMessage)) != `["a", 1e400]` {
		t.Errorf("JSON: got %v, %v", value, err)
	}
	for _, arg := range []string{"", "actor", "=x", ":=x", "exp:=tomorrow"} {
		if name, value, err := emulator.ParseClaim(arg); err == nil {
			t.Errorf("%q was read as %q = %v", arg, name, value)
		}
	}
}

func serve(t *testing.T, path string, run emulator.Run) (*emulator.Emulator, *httptest.Server) {
	t.Helper()
	server := httptest.NewUnstartedServer(nil)
	e, err := emulator.New(emulator.Config{Issuer: "http://" + server.Listener.Addr().String() + path, Key: key(), Run: run})
	if err != nil {
		t.Fatalf("New: %v", err)
	}
	server.Config.Handler = e.Handler()
	server.Start()
	t.Cleanup(server.Close)
	return e, server
}
