package app

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/emulator"
)

// refused sends an exchange that must be refused with this status, code and
// reason, as the native endpoint has them, and asserts what holds for every refusal: nothing is issued, a decision
// is on record if and only if the token's signature was proven, and the answer
// shows nothing that only a policy or an agent knows.
func (w *world) refused(body map[string]any, status int, codeAndReason ...string) *answer {
	w.t.Helper()
	a := w.wantAs(w.exchange(body), status, codeAndReason...)
	for _, member := range []string{"access_token", "token_type", "scope"} {
		if _, ok := a.Body[member]; ok {
			w.t.Errorf("a refusal with %s: %s", member, a.Raw)
		}
	}
	w.recorded(a, status)
	w.discreet(body, a)
	return a
}

// recorded asserts that what a refusal says is what its durable record says. The status
// is that of the native endpoint.
func (w *world) recorded(a *answer, status int) {
	w.t.Helper()
	proven := status == http.StatusForbidden || a.str("reason") != ""
	id := a.str("decision_id")
	if id == "" {
		if proven {
			w.t.Errorf("the signature was proven, and there is no decision: %s", a.Raw)
		}
		return
	}
	d := w.decision(id)
	if !slices.Contains(agentidp.DecisionCodes, d.Code) {
		w.t.Errorf("a decision with the code %s, which no filter finds", d.Code)
	}
	if d.Outcome != agentidp.OutcomeDenied || d.Code != a.str("code") || d.Reason != a.str("reason") || d.RequestID != a.str("request_id") || d.TokenID != "" {
		w.t.Errorf("the decision %+v is not what was answered: %s", d, a.Raw)
	}
}

// discreet asserts that an answer repeats no value of a policy or an agent that
// its caller did not send itself: another branch, an id, a name, a pin.
func (w *world) discreet(body map[string]any, a *answer) {
	w.t.Helper()
	sent, _ := json.Marshal(body) // strings all
	if token, _ := body["token"].(string); strings.Count(token, ".") == 2 {
		payload, _ := base64.RawURLEncoding.DecodeString(strings.Split(token, ".")[1])
		sent = append(sent, payload...)
	}
	shown := a.Raw
	for _, own := range []string{a.str("request_id"), a.str("decision_id")} { // a part of one may read like any number
		if own != "" {
			shown = bytes.ReplaceAll(shown, []byte(own), nil)
		}
	}
	for _, secret := range w.secrets() {
		if strings.Contains(string(sent), secret) {
			continue
		}
		if regexp.MustCompile(`\b` + regexp.QuoteMeta(secret) + `\b`).Match(shown) {
			w.t.Errorf("the answer shows %q, which the caller did not send: %s", secret, a.Raw)
		}
	}
}

// secrets are the values that policies and agents of the organization hold.
func (w *world) secrets() []string {
	w.t.Helper()
	org := w.org().ID
	policies, err := w.app.db.Policies(w.t.Context(), org, &agentidp.PolicyFilter{}, "", 100)
	if err != nil {
		w.t.Fatal(err)
	}
	agents, err := w.app.db.Agents(w.t.Context(), org, &agentidp.AgentFilter{}, "", 100)
	if err != nil {
		w.t.Fatal(err)
	}
	var all []string
	for _, p := range policies {
		all = append(all, p.ID, p.Repository, p.Branch, p.Tag, p.AgentID, p.RepositoryID, p.RepositoryOwnerID, p.AgentNamePattern, p.Description)
		all = append(append(all, p.Audiences...), p.Scopes...)
		if p.Pinned != nil {
			all = append(all, p.Pinned.RepositoryID, p.Pinned.RepositoryOwnerID)
		}
	}
	for _, a := range agents {
		all = append(append(all, a.AgentID, a.Name), a.Capabilities...)
	}
	slices.Sort(all)
	return slices.DeleteFunc(slices.Compact(all), func(s string) bool { return s == "" || agentidp.IsManagementScope(s) })
}

// granted sends an exchange that must be granted, and asserts that its record is
// on disk.
func (w *world) granted(body map[string]any) *answer {
	w.t.Helper()
	a := w.want(w.exchange(body), http.StatusOK)
	d := w.decision(a.str("decision_id"))
	if d.Outcome != agentidp.OutcomeAllowed || d.TokenID == "" || d.PolicyID == "" {
		w.t.Errorf("the decision %+v is not what was answered: %s", d, a.Raw)
	}
	if _, err := w.app.db.Token(w.t.Context(), w.org().ID, d.TokenID); err != nil {
		w.t.Errorf("the token of a granted exchange: %v", err)
	}
	return a
}

// trial is one exchange and its outcome: the code and reason of its refusal, or
// none where it is granted.
type trial struct {
	name   string
	agent  string // "": bootstrap
	claims claims // of the subject token, beside the usual ones
	code   string
	reason string
}

// try makes the trials in order, each with a token of its own, through one door after
// the other: what is decided is decided behind them.
func (w *world) try(trials []trial) {
	w.t.Helper()
	for i, r := range trials {
		w.t.Run(r.name, func(t *testing.T) { w.in(t).through(allDoors[i%len(allDoors)]).attempt(r) })
	}
}

// tryEverywhere makes each trial through every door.
func (w *world) tryEverywhere(trials []trial) {
	w.t.Helper()
	for _, r := range trials {
		for _, d := range allDoors {
			w.t.Run(r.name+", by "+d.String(), func(t *testing.T) { w.in(t).through(d).attempt(r) })
		}
	}
}

func (w *world) attempt(r trial) {
	w.t.Helper()
	w.outcome(exchangeBody(w.subject(r.claims), r.agent), r.code, r.reason)
}

// outcome asserts what an exchange leads to, by the code of its refusal.
func (w *world) outcome(body map[string]any, code, reason string) *answer {
	w.t.Helper()
	switch code {
	case "":
		return w.granted(body)
	case agentidp.CodeInvalidToken:
		return w.refused(body, http.StatusUnauthorized, code, reason)
	case agentidp.CodeInvalidScope, agentidp.CodeInvalidTarget, agentidp.CodeInvalidRequest:
		return w.refused(body, http.StatusBadRequest, code)
	}
	return w.refused(body, http.StatusForbidden, code)
}

// subject returns the token of a push to main of the usual repository, with these
// claims as they are: another repository is another identity only where its ids
// say so, and a tag only where ref_type does.
func (w *world) subject(c claims) string {
	w.t.Helper()
	token, err := w.ci.Mint(emulator.Options{Audience: w.url, Run: &emulator.Run{Repository: repository}, Claims: c})
	if err != nil {
		w.t.Fatal(err)
	}
	return token
}

// stranger are the claims of a repository of this name that is nobody's known one.
func stranger(name string) claims {
	return claims{"repository": name, "repository_id": "9001", "repository_owner_id": "9002"}
}

// exchangeBody is the body of an exchange; no agentID is a bootstrap request.
func exchangeBody(token, agentID string) map[string]any {
	body := map[string]any{"token": token}
	if agentID != "" {
		body["agentId"] = agentID
	}
	return body
}

// names asserts that a 400 names these fields among the bad ones.
func (w *world) names(a *answer, fields ...string) {
	w.t.Helper()
	var got []string
	details, _ := a.Body["details"].([]any)
	for _, d := range details {
		detail, _ := d.(map[string]any)
		field, _ := detail["field"].(string)
		if reason, _ := detail["reason"].(string); reason == "" {
			w.t.Errorf("no reason for the field %q: %s", field, a.Raw)
		}
		got = append(got, field)
	}
	for _, field := range fields {
		if !slices.Contains(got, field) {
			w.t.Errorf("%q is not among the bad fields %q: %s", field, got, a.Raw)
		}
	}
}

var ownIDs = regexp.MustCompile(`"(request_id|decision_id)":"[0-9a-f-]{36}"`)

// neutral returns the body of a refusal without what names this one request.
func neutral(a *answer) string { return ownIDs.ReplaceAllString(string(a.Raw), `"$1":""`) }

// jwtClaims returns what a token says, unverified.
func jwtClaims(t *testing.T, token string) map[string]any {
	t.Helper()
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		t.Fatalf("%d segments", len(parts))
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		t.Fatal(err)
	}
	var claims map[string]any
	if err := json.Unmarshal(payload, &claims); err != nil {
		t.Fatal(err)
	}
	return claims
}

// What is not heeded is refused, whatever the method: {"until": …} suspends nobody for
// a while, and a filter in a body filters nothing.
func TestABodyWhereNoneIsHeeded(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	admin := w.admin()
	agent := w.agentWithPolicy(admin)
	w.granted(exchangeBody(w.subject(nil), agent))
	tried := map[string]bool{}
	for _, op := range w.operations() {
		if op.media != "" {
			continue
		}
		tried[op.id] = true
		path := strings.NewReplacer("{agentId}", agent, "{id}", agentidp.NewID(w.clock.Now())).Replace(op.path)
		for _, body := range []string{`{"until":"x"}`, "{}", "null", " "} {
			a := w.do(op.method, path, admin, body)
			if a.Status != 400 || a.str("code") != agentidp.CodeInvalidRequest {
				t.Errorf("%s with the body %q: %d %s", op.id, body, a.Status, a.Raw)
				continue
			}
			w.names(a, "body")
		}
		if a := w.do(op.method, path, "", "{}"); a.Status != 401 {
			t.Errorf("%s with a body and no token: %d %s", op.id, a.Status, a.Raw)
		}
	}
	for _, op := range []string{"suspendAgent", "reactivateAgent", "decommissionAgent", "deleteTrustPolicy", "repinTrustPolicy", "listEvents"} {
		if !tried[op] {
			t.Errorf("%s was not tried", op)
		}
	}
	w.granted(exchangeBody(w.subject(nil), agent)) // nothing happened to it
}
