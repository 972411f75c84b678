package app

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/config"
	"github.com/sentryagent/agentidp/internal/emulator"
	"github.com/sentryagent/agentidp/internal/verify"
)

const explainPath = "/api/v1/oidc/explain"

// explained asks how an exchange would be decided.
func (w *world) explained(admin string, body map[string]any) *agentidp.Explanation {
	w.t.Helper()
	a := w.do(http.MethodPost, explainPath, admin, body)
	var e agentidp.Explanation
	if err := json.Unmarshal(a.Raw, &e); err != nil || a.Status != http.StatusOK {
		w.t.Fatalf("%d %s, %v", a.Status, a.Raw, err)
	}
	if a.Header.Get("Cache-Control") != "no-store" || e.Checks == nil {
		w.t.Errorf("%v %s", a.Header, a.Raw)
	}
	if token, _ := body["token"].(string); token != "" && strings.Contains(string(a.Raw), token) {
		w.t.Error("the answer repeats the token")
	}
	return &e
}

// tells asserts what an explanation says of one body.
func (w *world) tells(admin string, body map[string]any, allowed bool, codeAndReason ...string) *agentidp.Explanation {
	w.t.Helper()
	e := w.explained(admin, body)
	want := slices.Concat(codeAndReason, []string{"", ""})
	if e.Allowed != allowed || e.Code != want[0] || e.Reason != want[1] {
		w.t.Errorf("told %+v, want %v %v", e, allowed, codeAndReason)
	}
	return e
}

// A token that was explained is as good as before: nothing of it is stored, logged,
// counted or used up, in a server that admits one exchange a minute.
func TestExplainingLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *config.Config) { c.ExchangesPerMinute, c.RefusalsPerMinute = 1, 1 })
	admin := w.admin()
	agent := w.agentWithPolicy(admin)
	const mark = "a-most-peculiar-actor"
	body := exchangeBody(w.subject(claims{"actor": mark}), agent)
	other := exchangeBody(w.subject(claims{"actor": mark, "ref": "refs/heads/other"}), agent)
	before := w.app.db.Stats()
	for range 3 {
		w.tells(admin, body, true)
		w.tells(admin, other, false, agentidp.CodeBranchNotPermitted)
		w.tells(admin, map[string]any{"token": strings.Replace(body["token"].(string), ".", ".e30", 1)}, false, agentidp.CodeInvalidToken, "format")
	}
	if after := w.app.db.Stats(); after.Members != before.Members || len(after.Events) != len(before.Events) {
		t.Errorf("it was %+v and is %+v", before, after)
	}
	if counts := w.app.exchange.Refusals().Of(w.org().ID).Counts; len(counts) > 0 {
		t.Errorf("refusals are counted: %v", counts)
	}
	w.granted(body)
	w.tells(admin, body, true) // whether it was used is not looked at
	w.stop()                   // which looks for tokens in the log
	if strings.Contains(w.logs.String(), mark) {
		t.Error("the log has a claim")
	}
}

// What a stranger's token may cause, an explanation of it may, and no more.
func TestExplainingAStrangersToken(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	admin := w.admin()
	w.agentWithPolicy(admin)
	acme := w.tenant("acme")
	cluster := newCluster(acme, "cluster")
	cluster.policy(map[string]any{"sub": "build"}, nil)
	theirs := cluster.token("build", nil)

	fetches := w.fetches.Load()
	unknown := w.tells(admin, map[string]any{"token": w.subject(claims{"iss": "https://unknown.example"})}, false, agentidp.CodeInvalidToken, "issuer")
	foreign := w.tells(admin, map[string]any{"token": theirs}, false, agentidp.CodeInvalidToken, "issuer")
	if got := w.fetches.Load(); got != fetches {
		t.Errorf("%d requests for issuers that are no provider's", got-fetches)
	}
	if foreign.Hint != strings.Replace(unknown.Hint, "https://unknown.example", cluster.issuer, 1) || foreign.Message != unknown.Message || foreign.Provider != "" {
		t.Errorf("of another organization's provider %+v, and of nobody's %+v", foreign, unknown)
	}
	a := w.refused(map[string]any{"token": theirs}, http.StatusUnauthorized, agentidp.CodeInvalidToken)
	if a.str("detail") != foreign.Message {
		t.Errorf("told %q, and the exchange says %q", foreign.Message, a.str("detail"))
	}
	acme.tells(acme.admin(), map[string]any{"token": theirs}, true)

	// Without a signature that is proven there are no claims, and nothing is compared.
	forged := w.subject(nil)
	forged = forged[:len(forged)-8] + "AAAAAAAA"
	e := w.tells(admin, map[string]any{"token": forged}, false, agentidp.CodeInvalidToken, "signature")
	if len(e.Checks) > 0 || e.Nearest != nil || e.PolicyID != "" || !strings.Contains(e.Hint, "agentidp provider test github") {
		t.Errorf("%+v", e)
	}
}

// What keeps a token itself from being exchanged is told beside what policies say of it.
func TestExplainingWhatIsWrongWithTheTokenItself(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.clock.freeze()
	admin := w.admin()
	agent := w.agentWithPolicy(admin)
	now := w.clock.Now()
	at := func(iat, exp time.Duration) claims {
		return claims{"iat": now.Add(iat).Unix(), "nbf": now.Add(iat).Unix(), "exp": now.Add(exp).Unix()}
	}
	for _, tt := range []struct {
		name    string
		claims  claims
		allowed bool
		code    string
		reason  string
		hint    string
	}{
		{"it has expired", at(-time.Hour, -30*time.Minute), true, "", agentidp.ReasonTokenExpired, "how a fresh one"},
		{"it is not valid yet", at(time.Hour, 65*time.Minute), true, "", agentidp.ReasonTokenNotYetValid, "how a fresh one"},
		{"it lives too long, as a fresh one would", at(0, 25*time.Hour), false, agentidp.CodeInvalidToken, agentidp.ReasonTokenTooOld, "the policies would grant it"},
		{"it is for another audience", claims{"aud": "https://github.com/acme"}, false, agentidp.CodeInvalidToken, agentidp.ReasonAudienceMismatch, "the policies would grant it"},
		{"it lacks what its provider's tokens have", claims{"sha": 7}, false, agentidp.CodeInvalidToken, agentidp.ReasonClaimInvalid, "the policies would grant it"},
		{"it is for another audience and branch", claims{"aud": "https://github.com/acme", "ref": "refs/heads/x"}, false, agentidp.CodeInvalidToken, agentidp.ReasonAudienceMismatch, "The policies would refuse it besides: branch_not_permitted."},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := w.in(t)
			body := exchangeBody(w.subject(tt.claims), agent)
			e := w.tells(admin, body, tt.allowed, tt.code, tt.reason)
			if len(e.Checks) == 0 || e.PolicyID == "" || !strings.Contains(e.Hint, tt.hint) || tt.allowed != (e.Audience != "") {
				t.Errorf("%+v", e)
			}
			a := w.refused(body, http.StatusUnauthorized, agentidp.CodeInvalidToken, tt.reason)
			if said := e.Message + e.Hint; !strings.Contains(said, a.str("detail")) {
				t.Errorf("told %q, and the exchange says %q", said, a.str("detail"))
			}
		})
	}
}

// After a restore, a token of before may have been exchanged: that is about its time.
func TestExplainingAfterARestore(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	agent := w.agentWithPolicy(w.admin())
	old := exchangeBody(w.subject(nil), agent)
	out := w.restored(w.backup())
	w.clock.advance(time.Until(out.At) + 5*time.Second)
	admin := w.admin()
	w.tells(admin, old, true, "", agentidp.ReasonTokenTooOld)
	e := w.tells(admin, exchangeBody(w.subject(nil), agent), true, "", agentidp.CodeTemporarilyUnavailable)
	if !strings.Contains(e.Hint, "restored from a backup") {
		t.Errorf("%+v", e)
	}
	w.clock.advance(2 * verify.Skew)
	w.tells(admin, exchangeBody(w.subject(nil), agent), true)
	pasted := map[string]any{"claims": jwtClaims(t, old["token"].(string)), "agentId": agent}
	w.tells(admin, pasted, true, "", agentidp.ReasonTokenTooOld)
	delete(pasted["claims"].(map[string]any), "iat")
	w.tells(admin, pasted, true)
}

// Claims may be nested, as those of clusters are; the body that brings them is as bounded
// as any.
func TestExplainingClaimsOfEveryForm(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	admin := w.admin()
	cluster := newCluster(w, "cluster")
	cluster.policy(map[string]any{"sub": "build"}, nil)
	nested := map[string]any{"kubernetes.io": map[string]any{"pod": map[string]any{"name": "p", "labels": []any{map[string]any{"a": 1}}}}}
	w.tells(admin, map[string]any{"claims": merge(nested, map[string]any{"sub": "build", "iss": cluster.issuer})}, true)
	w.tells(admin, map[string]any{"claims": merge(nested, map[string]any{"sub": "build"}), "provider": "cluster"}, true)
	w.tells(admin, map[string]any{"claims": merge(nested, map[string]any{"sub": "test"}), "provider": "cluster"}, false, agentidp.CodeTrustPolicyViolation)
	e := w.tells(admin, map[string]any{"claims": map[string]any{"sub": "build", "iss": "https://other.example"}, "provider": "cluster"}, false, agentidp.CodeInvalidToken, "issuer")
	if len(e.Checks) == 0 || !strings.Contains(e.Hint, "https://other.example") || !strings.Contains(e.Hint, cluster.issuer) {
		t.Errorf("%+v", e)
	}
	for _, tt := range []struct {
		name, body string
		status     int
		code       string
	}{
		{"a body beyond 64 KiB", `{"claims": {"sub": "` + strings.Repeat("x", 64<<10) + `"}}`, 413, agentidp.CodePayloadTooLarge},
		{"a token beyond 16 KiB", `{"token": "` + strings.Repeat("x", 16<<10+1) + `"}`, 400, agentidp.CodeInvalidRequest},
		{"nested without end", `{"claims": ` + strings.Repeat(`{"a":`, 5000) + `1` + strings.Repeat(`}`, 5001), 400, agentidp.CodeInvalidRequest},
		{"a claim twice", `{"claims": {"sub": "build", "sub": "test"}, "provider": "cluster"}`, 400, agentidp.CodeInvalidRequest},
		{"an iss that is no text", `{"claims": {"sub": "build", "iss": ["https://cluster.example"]}}`, 400, agentidp.CodeInvalidRequest},
		{"an iss with a control character", `{"claims": {"sub": "build", "iss": "https://cluster.example\u0000"}}`, 400, agentidp.CodeInvalidRequest},
		{"a provider with one", `{"claims": {"sub": "build"}, "provider": "cluster\u0000"}`, 400, agentidp.CodeInvalidRequest},
		{"an unknown member", `{"claims": {"sub": "build"}, "claim": 1}`, 400, agentidp.CodeInvalidRequest},
	} {
		if a := w.do(http.MethodPost, explainPath, admin, tt.body); a.Status != tt.status || a.str("code") != tt.code {
			t.Errorf("%s: %d %.300s", tt.name, a.Status, a.Raw)
		}
	}
}

func merge(all ...map[string]any) map[string]any {
	out := map[string]any{}
	for _, m := range all {
		for name, value := range m {
			out[name] = value
		}
	}
	return out
}

// A decision about a token that is refused itself says what it was compared with: for
// whom it is, and which decision used it up.
func TestDecisionsAboutTheTokenItself(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	agent := w.agentWithPolicy(w.admin())
	first := func(body map[string]any, reason string) agentidp.Check {
		t.Helper()
		d := w.decision(w.refused(body, http.StatusUnauthorized, agentidp.CodeInvalidToken, reason).str("decision_id"))
		if len(d.Checks) == 0 {
			t.Fatalf("%s: no check", reason)
		}
		return d.Checks[0]
	}
	used := exchangeBody(w.subject(nil), agent)
	id := w.granted(used).str("decision_id")
	if got, want := first(used, agentidp.ReasonTokenReplayed), (agentidp.Check{Check: "single_use", Claim: "jti", Expected: "not exchanged before", Got: "exchanged by decision " + id}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	elsewhere := exchangeBody(w.subject(claims{"aud": []string{w.url, "https://github.com/acme"}}), agent)
	if got, want := first(elsewhere, agentidp.ReasonAudienceMismatch), (agentidp.Check{Check: "aud", Claim: "aud", Expected: w.url, Got: w.url + " https://github.com/acme"}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	if e := w.tells(w.admin(), elsewhere, false, agentidp.CodeInvalidToken, agentidp.ReasonAudienceMismatch); e.Checks[0].Check != "aud" || e.Checks[1].PolicyID == "" {
		t.Errorf("%+v", e.Checks)
	}

	// A claim that is missing, and times by another clock.
	bare := exchangeBody(w.subject(claims{"repository_id": emulator.Absent}), agent)
	want := agentidp.Check{Check: "claim", Claim: "repository_id", Expected: "a claim that is there and in order", Got: "is missing or empty"}
	if got := first(bare, agentidp.ReasonClaimInvalid); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	if e := w.tells(w.admin(), bare, false, agentidp.CodeInvalidToken, agentidp.ReasonClaimInvalid); e.Checks[0] != want {
		t.Errorf("%+v", e.Checks)
	}
	now := time.Now()
	at := func(iat, nbf, exp time.Duration) map[string]any {
		return exchangeBody(w.subject(claims{"iat": now.Add(iat).Unix(), "nbf": now.Add(nbf).Unix(), "exp": now.Add(exp).Unix()}), agent)
	}
	shown := func(d time.Duration) string { return now.Add(d).UTC().Format(time.RFC3339) }
	for _, test := range []struct {
		reason string
		body   map[string]any
		want   agentidp.Check
	}{
		{agentidp.ReasonTokenExpired, at(-time.Hour, -time.Hour, -30*time.Minute), agentidp.Check{Check: "exp", Claim: "exp", Expected: "later than ", Got: shown(-30 * time.Minute)}},
		{agentidp.ReasonTokenNotYetValid, at(time.Hour, time.Hour, 70*time.Minute), agentidp.Check{Check: "iat", Claim: "iat", Expected: "not later than ", Got: shown(time.Hour)}},
		{agentidp.ReasonTokenNotYetValid, at(0, 5*time.Minute, 10*time.Minute), agentidp.Check{Check: "nbf", Claim: "nbf", Expected: "not later than ", Got: shown(5 * time.Minute)}},
		{agentidp.ReasonTokenTooOld, at(0, 0, 48*time.Hour), agentidp.Check{Check: "lifetime", Claim: "exp", Expected: "at most ", Got: "172800 seconds after iat"}},
	} {
		got := first(test.body, test.reason)
		expected := got.Expected
		if got.Expected = test.want.Expected; got != test.want || !strings.HasPrefix(expected, test.want.Expected) {
			t.Errorf("%s: %+v, expected %s, want %+v", test.reason, got, expected, test.want)
		}
	}
}
