package app

import (
	"encoding/base64"
	"net/url"
	"strings"
	"testing"

	"github.com/sentryagent/agentidp"
)

// SQL in what an authentic token claims, and in headers, at every door, on both
// engines. Some of it reaches storage, as text: the decision that is kept has the claim as
// it was sent, and everything else is as it was.
func TestA226SQLInClaims(t *testing.T) {
	t.Parallel()
	onBothEngines(t, func(t *testing.T, nodes []*world) {
		w := nodes[0]
		admin := w.admin()
		agent := w.agentWithPolicy(admin)
		w.granted(exchangeBody(w.subject(nil), agent)) // the policy is pinned to the honest ids
		for i, sql := range sqlTexts {
			for j, claim := range []string{"repository", "repository_id", "repository_owner_id", "ref", "ref_type", "event_name", "environment", "job_workflow_ref", "actor", "run_id", "sha", "sub", "jti"} {
				d := allDoors[(i+j)%len(allDoors)]
				a := w.enter(d, exchangeBody(w.subject(claims{claim: sql}), agent))
				if a.Status >= 500 {
					t.Errorf("%s %q, by %s: %d %s", claim, sql, d, a.Status, a.Raw)
				}
				if claim == "ref" {
					id := w.wantAs(a, 403, agentidp.CodeBranchNotPermitted).str("decision_id")
					if kept := w.decision(id); kept.Ref != sql {
						t.Errorf("%q is kept as %q", sql, kept.Ref)
					}
				}
			}
		}
		w.granted(exchangeBody(w.subject(nil), agent))
		w.want(w.do("GET", agentsPath+"/"+agent, admin, nil), 200)
	})
}

// and in the parameters of OAuth and in headers, which are refused for their form or
// find nothing.
func TestA226SQLInFormsAndHeaders(t *testing.T) {
	t.Parallel()
	onBothEngines(t, func(t *testing.T, nodes []*world) {
		w := nodes[0]
		admin := w.admin()
		agent := w.agentWithPolicy(admin)
		for _, sql := range sqlTexts {
			for path, good := range map[string]url.Values{
				tokenPath:         {"grant_type": {"client_credentials"}, "client_id": {agent}, "client_secret": {"x"}, "scope": {"deploy:staging"}, "resource": {"https://a.example"}, "subject_token": {"x"}, "agent_id": {agent}, "assertion": {"x"}, "client_assertion": {"x"}, "client_assertion_type": {assertionType}},
				introspectionPath: {"token": {admin}, "token_type_hint": {"access_token"}},
				revocationPath:    {"token": {"x"}, "token_type_hint": {"access_token"}},
			} {
				for name := range good {
					form := url.Values{}
					for n, v := range good {
						form[n] = v
					}
					form[name] = []string{sql}
					a := w.do("POST", path, "", form.Encode(), "Content-Type", formType)
					if a.Status >= 500 || a.Body["access_token"] != nil || name == "token" && a.Body["active"] == true {
						t.Errorf("%s, %s %q: %d %s", path, name, sql, a.Status, a.Raw)
					}
				}
			}
			basic := "Basic " + base64.StdEncoding.EncodeToString([]byte(url.QueryEscape(sql)+":"+url.QueryEscape(sql)))
			w.want(w.do("POST", tokenPath, "", "grant_type=client_credentials", "Content-Type", formType, "Authorization", basic), 401, agentidp.CodeInvalidClient)
			w.want(w.do("GET", agentsPath, "", nil, "Authorization", "Bearer "+sql), 401, agentidp.CodeInvalidToken)
			w.want(w.do("DELETE", agentsPath+"/"+agent, admin, nil, "If-Match", `"`+sql+`"`), 400, agentidp.CodeInvalidRequest)
			w.want(w.do("GET", "/o/"+strings.ReplaceAll(url.PathEscape(sql), "/", "%2F")+"/api/v1/agents", admin, nil), 404, agentidp.CodeNotFound)
		}
		w.granted(exchangeBody(w.subject(nil), agent))
	})
}
