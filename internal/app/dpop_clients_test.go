package app

import (
	"net/url"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/dpoptest"
)

// S-063: what a client gets by its own credential is bound like what a run gets, and what
// a bound token is exchanged for is bound to the same key, by whoever has that.
func TestGrantsToClientsAreBound(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	client := w.agentThat(w.admin(), "deployer", "deploy:staging")
	key := dpoptest.NewKey()
	ask := func(form url.Values, proof string, more ...string) *answer {
		headers := append([]string{"Content-Type", formType}, more...)
		if proof != "" {
			headers = append(headers, "DPoP", proof)
		}
		return w.do("POST", tokenPath, "", form.Encode(), headers...)
	}
	for _, method := range clientMethods {
		form, proof := url.Values{"grant_type": {agentidp.GrantClientCredentials}}, w.proof(stsDoor, key)
		first := w.want(ask(form, proof, client.proves(method, form)...), 200)
		w.wantOAuth(ask(form, proof, client.proves(method, form)...), 400, "invalid_dpop_proof", agentidp.CodeInvalidDPoPProof)
		w.wantOAuth(ask(form, "x", client.proves(method, form)...), 400, "invalid_dpop_proof", agentidp.CodeInvalidDPoPProof)

		own, err := url.ParseQuery(ownForm(first.str("access_token")))
		if err != nil {
			t.Fatal(err)
		}
		second := w.want(ask(own, w.proof(stsDoor, key)), 200)
		for _, a := range []*answer{first, second} {
			cnf, _ := jwtClaims(t, a.str("access_token"))["cnf"].(map[string]any)
			if a.str("token_type") != "DPoP" || cnf["jkt"] != key.Thumbprint() {
				t.Errorf("%s: %s, bound to %v", method, a.str("token_type"), cnf)
			}
		}
		for name, proof := range map[string]string{"no proof": "", "another key": w.proof(stsDoor, dpoptest.NewKey())} {
			if a := ask(own, proof); a.Status != 400 || a.str("code") != agentidp.CodeInvalidDPoPProof {
				t.Errorf("%s: %d %s", name, a.Status, a.Raw)
			}
		}
	}
}

// S-070: at introspection and revocation a bound token that authenticates the caller
// needs a proof. One that is in the form is data, whoever sends it: its claims can be
// read anyway, and a thief who ends it harms himself.
func TestABoundTokenInAForm(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	admin := w.admin()
	agent := w.register(admin, agentName, agentidp.ScopeTokensRead, agentidp.ScopeTokensRevoke)
	w.policy(admin, map[string]any{"agentId": agent, "audiences": []string{w.url + "/api/v1"}})
	key := dpoptest.NewKey()
	token := func() string {
		w.t.Helper()
		return w.want(w.bind(nil, w.proof(nil, key), exchangeBody(w.mint(), agent)), 200).str("access_token")
	}
	caller, itself, victim := token(), token(), w.admin(agentidp.ScopeAgentsRead)
	for _, path := range []string{introspectionPath, revocationPath} {
		w.wantOAuth(w.do("POST", path, caller, "token="+victim, "Content-Type", formType), 401, "invalid_token", agentidp.CodeInvalidToken)
		a := w.do("POST", path, "", "token="+victim, "Content-Type", formType, "Authorization", "DPoP "+caller)
		w.wantOAuth(a, 401, "invalid_dpop_proof", agentidp.CodeInvalidDPoPProof)
	}
	w.wantOAuth(w.introspect(caller, caller), 401, "invalid_token", agentidp.CodeInvalidToken)
	for _, given := range []string{victim, caller} {
		if a := w.bound(key, caller, "POST", introspectionPath, "token="+given, "Content-Type", formType); a.Body["active"] != true {
			t.Errorf("%d %s", a.Status, a.Raw)
		}
	}
	w.ended(w.bound(key, caller, "POST", revocationPath, "token="+victim, "Content-Type", formType))
	w.ended(w.revoke("", itself))
	w.ended(w.revoke(caller, caller))
	for _, ended := range []string{victim, itself, caller} {
		if !w.revoked(ended) {
			t.Error("it is not revoked")
		}
	}
}

// The client in docs/dpop.md does what is said there.
func TestTheClientOfTheDPoPPage(t *testing.T) {
	t.Parallel()
	node := findNode(t)
	page, err := os.ReadFile("../../docs/dpop.md")
	if err != nil {
		t.Fatal(err)
	}
	var program strings.Builder
	for _, block := range regexp.MustCompile("(?s)```js\n(.*?)```").FindAllSubmatch(page, -1) {
		program.Write(block[1])
	}
	w := newWorld(t)
	admin := w.admin()
	agent := w.register(admin, agentName, agentidp.ScopeAgentsRead)
	w.policy(admin, map[string]any{"agentId": agent, "audiences": []string{w.url + "/api/v1"}})
	cmd := exec.CommandContext(t.Context(), node, "--input-type=module", "-")
	cmd.Stdin = strings.NewReader(program.String())
	cmd.Env = append(os.Environ(), "AGENTIDP_SERVER="+w.url, "ID_TOKEN="+w.mint(), "AGENT_ID="+agent)
	out, err := cmd.CombinedOutput()
	if err != nil || string(out) != "200 DPoP\n200\n" {
		t.Errorf("%v: %s", err, out)
	}
}

// findNode returns the path of Node, which runs programs that the docs show. Where it is
// required, as in CI, its absence is a failure.
func findNode(t *testing.T) string {
	t.Helper()
	node, err := exec.LookPath("node")
	if err != nil {
		if os.Getenv("AGENTIDP_REQUIRE_NODE") != "" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	return node
}
