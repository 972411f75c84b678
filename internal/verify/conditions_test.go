package verify_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/jose"
)

// what a policy's conditions are compared with.
func TestClaimsAreReadAsTheTokenSpellsThem(t *testing.T) {
	t.Parallel()
	w := newWorld(t, jose.ES256)
	const none = "\x00" // the claim equals nothing
	for _, tt := range []struct {
		name  string
		value any
		want  string
	}{
		{"a string", "self-hosted", "self-hosted"},
		{"an empty string", "", ""},
		{"a string with escapes", json.RawMessage(`"gith\u0075b"`), "github"},
		{"a string beyond ASCII", "Größe", "Größe"},
		{"a number", 42, "42"},
		{"a number beyond 2^53", json.RawMessage("9007199254740993"), "9007199254740993"},
		{"a number with a fraction", json.RawMessage("42.0"), "42.0"},
		{"a number with an exponent", json.RawMessage("4.2e1"), "4.2e1"},
		{"a negative number", -1, "-1"},
		{"true", true, "true"},
		{"false", false, "false"},
		{"a string that says true", "true", "true"},
		{"null", nil, none},
		{"an object", map[string]any{"a": "b"}, none},
		{"an array", []string{"self-hosted"}, none},
		{"a string with a control character", "a\u001b", none},
		{"a string of 1024 bytes", strings.Repeat("s", 1024), strings.Repeat("s", 1024)},
		{"a string of 1025 bytes", strings.Repeat("s", 1025), none},
		{"a number of 1025 bytes", json.RawMessage(strings.Repeat("1", 1025)), none},
		{"an absent claim", absent, none},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := w.mustVerify(t, w.key.token(t, claims(t, map[string]any{"runner": tt.value, "Runner": "x", "runner ": "x", "\u0280unner": "x"})))
			got, ok := c.Read("runner")
			if !ok {
				got = none
			}
			if got != tt.want {
				t.Errorf("got %.50q, want %.50q", got, tt.want)
			}
		})
	}
}

// oidc makes the world's provider one that nothing is known about.
func (w *world) oidc() {
	w.provider.Kind, w.provider.Name = "oidc", "cluster"
}

func serviceAccount(w *world, changes map[string]any) map[string]any {
	now := w.Now().Unix()
	c := map[string]any{"iss": w.provider.Issuer, "aud": "https://idp.example.com", "iat": now, "exp": now + 600,
		"sub": "system:serviceaccount:build:deployer", "repository": "acme/deploy", "event_name": "push", "ref": "refs/heads/main"}
	for name, value := range changes {
		if c[name] = value; value == absent {
			delete(c, name)
		}
	}
	return c
}

func TestATokenOfAnyIssuer(t *testing.T) {
	t.Parallel()
	w := newWorld(t, jose.ES256)
	w.oidc()
	c := w.mustVerify(t, w.key.token(t, serviceAccount(w, nil)))
	if c.Subject != "system:serviceaccount:build:deployer" || c.Workload().Subject != c.Subject || !strings.HasPrefix(c.ReplayKey, "sha256:") {
		t.Errorf("subject %q, replay key %q", c.Subject, c.ReplayKey)
	}
	if c.Kind == nil || c.Kind.Name != "oidc" {
		t.Errorf("kind %+v", c.Kind)
	}
	// What has a meaning in the tokens of GitHub has none here.
	if c.Repository != "" || c.RepositoryID != "" || c.Event != "" || c.Ref != "" {
		t.Errorf("claims %+v", plain(c))
	}
	if repository, ok := c.Read("repository"); !ok || repository != "acme/deploy" {
		t.Errorf("read %q, %t", repository, ok)
	}
	c = w.mustVerify(t, w.key.token(t, serviceAccount(w, map[string]any{"jti": "a"})))
	if c.ReplayKey != "a" {
		t.Errorf("replay key %q", c.ReplayKey)
	}
	for name, sub := range map[string]any{"absent": absent, "null": nil, "a list": []string{"x"}, "long": strings.Repeat("s", 1025), "a line break": "a\nb"} {
		if c = w.mustVerify(t, w.key.token(t, serviceAccount(w, map[string]any{"sub": sub}))); c.Subject != "" {
			t.Errorf("%s: subject %q", name, c.Subject)
		}
	}
	for _, claim := range []string{"exp", "iat"} {
		c, err := w.verify(t, w.key.token(t, serviceAccount(w, map[string]any{claim: absent})))
		wantReason(t, c, err, agentidp.ReasonClaimInvalid)
	}
}

func TestTheSubjectOfGitHubIdentifiesNobody(t *testing.T) {
	t.Parallel()
	w := newWorld(t, jose.ES256)
	if c := w.mustVerify(t, w.good(t)); c.Subject != "" || c.Workload().Subject != "" {
		t.Errorf("subject %q", c.Subject)
	}
}
