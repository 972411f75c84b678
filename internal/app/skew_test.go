package app

import (
	"net/http"
	"net/url"
	"regexp"
	"testing"

	"github.com/sentryagent/agentidp"
)

// what the first version of the actions sends, as it was recorded then
// (actions/test/snapshots), and what it reads of the answers. Jobs name that version for
// years: a row is never changed, whatever newer ones send.
func TestR31TheFirstVersionOfTheActionsIsAnswered(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	admin := w.admin()
	w.policy(admin, map[string]any{"branch": "main", "trustRegisteredAgents": true})
	uuid := `[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}`
	grant := map[string]string{
		"token_type": `(?i)bearer`, "access_token": `[A-Za-z0-9._~+/-]{32,}={0,2}`, "expires_at": `\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?Z`, "decision_id": uuid,
	}
	reads := func(a *answer, members map[string]string) {
		t.Helper()
		for name, form := range members {
			if !regexp.MustCompile(`^(?:` + form + `)$`).MatchString(a.str(name)) {
				t.Errorf("%s is not what the action reads: %s", name, jwtPattern.ReplaceAll(a.Raw, []byte("(a secret)")))
			}
		}
	}

	a := w.want(w.do(http.MethodPost, "/api/v1/oidc/token", "", `{"token":"`+w.subject(nil)+`"}`), 200)
	reads(a, grant)
	bootstrap := a.str("access_token")
	a = w.want(w.do(http.MethodPost, "/api/v1/agents", bootstrap, `{"name":"deployer@ci.acme.example","description":"Deploys acme"}`), 201)
	reads(a, map[string]string{"agentId": uuid})
	agent := a.str("agentId")
	a = w.want(w.do(http.MethodPost, "/api/v1/agents", bootstrap, `{"name":"deployer@ci.acme.example"}`), 200)
	reads(a, map[string]string{"agentId": agent})

	a = w.want(w.do(http.MethodPost, "/api/v1/oidc/token", "", `{"token":"`+w.subject(nil)+`","agentId":"`+agent+`"}`), 200)
	reads(a, grant)
	reads(a, map[string]string{"agent_id": agent})
	issued := a.str("access_token")
	form := url.Values{"token": {issued}, "token_type_hint": {"access_token"}}
	w.want(w.do(http.MethodPost, "/oauth2/revoke", "", form.Encode(), "Content-Type", "application/x-www-form-urlencoded"), 200)
	w.inactive("a token that the action ended", w.introspect("", issued))
}

// an action that is newer than the server, and asks for what that does not know, is
// refused by the member's name, and its ID token is as good as before.
func TestR31AnActionOfALaterVersionIsRefusedWhatIsNotKnown(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	agent := w.agentWithPolicy(w.admin())
	token := w.subject(nil)
	a := w.want(w.do(http.MethodPost, "/api/v1/oidc/token", "", `{"token":"`+token+`","agentId":"`+agent+`","ofLater":true}`), 400, agentidp.CodeInvalidRequest)
	w.names(a, "ofLater")
	w.granted(exchangeBody(token, agent))
}
