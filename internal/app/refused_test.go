package app

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/sentryagent/agentidp"
)

// refused sends an exchange that must be refused with this status, code and
// reason, and asserts what holds for every refusal: nothing is issued, a decision
// is on record if and only if the token's signature was proven, and the answer
// shows nothing that only a policy or an agent knows.
func (w *world) refused(body map[string]any, status int, codeAndReason ...string) *answer {
	w.t.Helper()
	a := w.want(w.exchange(body), status, codeAndReason...)
	for _, member := range []string{"access_token", "token_type", "scope"} {
		if _, ok := a.Body[member]; ok {
			w.t.Errorf("a refusal with %s: %s", member, a.Raw)
		}
	}
	w.recorded(a)
	w.discreet(body, a)
	return a
}

// recorded asserts that what a refusal says is what its durable record says.
func (w *world) recorded(a *answer) {
	w.t.Helper()
	proven := a.Status == http.StatusForbidden || a.str("reason") != ""
	id := a.str("decision_id")
	if id == "" {
		if proven {
			w.t.Errorf("the signature was proven, and there is no decision: %s", a.Raw)
		}
		return
	}
	d := w.decision(id)
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
	for _, secret := range w.secrets() {
		if strings.Contains(string(sent), secret) {
			continue
		}
		if regexp.MustCompile(`\b` + regexp.QuoteMeta(secret) + `\b`).Match(a.Raw) {
			w.t.Errorf("the answer shows %q, which the caller did not send: %s", secret, a.Raw)
		}
	}
}

// secrets are the values that policies and agents of the organization hold.
func (w *world) secrets() []string {
	w.t.Helper()
	org := w.org().ID
	policies, err := w.app.db.Policies(w.t.Context(), org, "", 100)
	if err != nil {
		w.t.Fatal(err)
	}
	agents, err := w.app.db.Agents(w.t.Context(), org, "", 100)
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

// run is a workflow run as its token tells it, with one outcome: code and reason
// of the refusal, or none where it is granted.
type run struct {
	name   string
	claims claims
	code   string // "" is 200; else 403, but for 401 and 400 by the code
	reason string
}

// exchangeAll exchanges one token for each run, in order, and asserts its outcome.
func (w *world) exchangeAll(runs []run, agentID string) {
	w.t.Helper()
	for _, r := range runs {
		w.t.Run(r.name, func(t *testing.T) {
			w.in(t).outcome(exchangeBody(w.in(t).run(r.claims), agentID), r.code, r.reason)
		})
	}
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

// exchangeBody is the body of an exchange; no agentID is a bootstrap request.
func exchangeBody(token, agentID string) map[string]any {
	body := map[string]any{"token": token}
	if agentID != "" {
		body["agentId"] = agentID
	}
	return body
}
