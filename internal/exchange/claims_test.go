package exchange

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/providers"
	"github.com/sentryagent/agentidp/internal/verify"
)

// spelled are the claims of a token, as it spells them.
type spelled map[string]string

func (s spelled) ReadClaim(string) (string, bool) { panic("only their spelling is kept") }
func (s spelled) ReadJSON(name string) []byte     { return []byte(s[name]) }

func attemptWith(claims spelled, keep bool, extra ...string) *attempt {
	kind := &agentidp.ProviderKind{RecordedClaims: []string{"sub", "ref", "environment"}}
	return &attempt{
		Exchanger: &Exchanger{Config: Config{KeepClaims: keep, RecordClaims: map[string][]string{"cluster": extra, "other": {"actor"}}}},
		provider:  &agentidp.Provider{Name: "cluster"}, claims: &agentidp.Claims{Kind: kind, Source: claims},
	}
}

func TestWhatIsKeptOfATokensClaims(t *testing.T) {
	t.Parallel()
	token := spelled{
		"iss": `"https://ci.example"`, "jti": `"1"`, "actor": `"jane"`, "sub": `"a\u0062"`, "ref": `"refs/heads/main"`,
		"run": `12345678901234567890`, "kubernetes.io": `{"pod": {"uid": "x"}}`, "groups": `["a","b"]`, "none": `null`, `a"b\`: `true`, "größe": `1e2`,
		"long": `"` + strings.Repeat("x", maxRecordedClaim) + `"`,
	}
	for _, test := range []struct {
		name  string
		keep  bool
		extra []string
		want  string
	}{
		{"none are kept", false, []string{"run"}, ``},
		{"what the kind lists, as the token spells it", true, nil, `{"sub":"a\u0062","ref":"refs/heads/main"}`},
		{"numbers keep their digits", true, []string{"run"}, `{"sub":"a\u0062","ref":"refs/heads/main","run":12345678901234567890}`},
		{"objects and lists are whole", true, []string{"kubernetes.io", "groups", "none"},
			`{"sub":"a\u0062","ref":"refs/heads/main","kubernetes.io":{"pod": {"uid": "x"}},"groups":["a","b"],"none":null}`},
		{"what the kind lists already", true, []string{"ref", "sub"}, `{"sub":"a\u0062","ref":"refs/heads/main"}`},
		{"odd names", true, []string{`a"b\`, "größe"}, `{"sub":"a\u0062","ref":"refs/heads/main","a\"b\\":true,"größe":1e2}`},
		{"one that is too long, and one that is not there", true, []string{"long", "absent", "none"}, `{"sub":"a\u0062","ref":"refs/heads/main","none":null}`},
	} {
		got := attemptWith(token, test.keep, test.extra...).recorded()
		if string(got) != test.want || got != nil && !json.Valid(got) {
			t.Errorf("%s:\n%s, want\n%s", test.name, got, test.want)
		}
	}
	if got := attemptWith(spelled{"iss": `"x"`}, true).recorded(); got != nil {
		t.Errorf("of a token without any of them %s is kept", got)
	}
}

// Whatever a caller puts in its token, one decision keeps 8 KiB of it at most.
func TestWhatIsKeptOfATokensClaimsIsBounded(t *testing.T) {
	t.Parallel()
	token, names := spelled{}, []string{}
	for _, r := range "abcdefghij" {
		names = append(names, string(r))
		token[string(r)] = `"` + strings.Repeat("x", maxRecordedClaim-2) + `"`
	}
	token["j"] = `"y"`
	got := attemptWith(token, true, names...).recorded()
	if len(got) > maxRecorded+16 || !json.Valid(got) || !strings.HasSuffix(string(got), `,"j":"y"}`) {
		t.Errorf("%d bytes, ending in %.20s", len(got), got[len(got)-20:])
	}
}

// BenchmarkRecorded is what keeping the claims of a usual token adds to an exchange, but
// for the row that is written.
func BenchmarkRecorded(b *testing.B) {
	kinds, err := providers.Kinds()
	if err != nil {
		b.Fatal(err)
	}
	provider := providers.GitHub(kinds["github"], "")
	claims := map[string]string{}
	for name := range kinds["github"].KnownClaims {
		claims[name] = "refs/heads/main of " + name
	}
	payload, err := json.Marshal(claims)
	if err != nil {
		b.Fatal(err)
	}
	read, err := verify.New(verify.Config{Kinds: kinds}).ReadClaims(provider, payload)
	if err != nil {
		b.Fatal(err)
	}
	a := &attempt{Exchanger: &Exchanger{Config: Config{KeepClaims: true}}, provider: provider, claims: read}
	b.ReportAllocs()
	for b.Loop() {
		a.recorded()
	}
}
