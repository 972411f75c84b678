package app

import (
	"crypto/elliptic"
	"encoding/json"
	"net/url"
	"testing"
	"time"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/store"
)

const mcpServer = "https://mcp.example/mcp"

// S-077, S-082: the requests of MCP's extensions for clients without a user, as their
// texts have them: client credentials, and the identity that a workload has anyway.
func TestMCPClients(t *testing.T) {
	t.Parallel()
	root := newWorld(t)
	w := root.tenant("acme")
	admin := w.admin()
	w.clock.freeze()
	now := w.clock.Now()
	agent := &agentidp.Agent{AgentID: agentidp.NewID(now), OrganizationID: w.org().ID, Status: agentidp.AgentActive, CreatedAt: now, UpdatedAt: now, Revision: 1}
	agent.Name, agent.Capabilities, agent.Audiences = "tools@ci.acme.example", []string{"mcp:read", "mcp:write"}, []string{mcpServer}
	if err := w.app.db.Write(t.Context(), func(tx *store.Tx) error { return tx.CreateAgent(t.Context(), agent) }); err != nil {
		t.Fatal(err)
	}
	client := w.asking(agent.AgentID)

	// The workload's issuer writes the token endpoint into aud, as the extension wants it
	// to: that is an audience that the provider lists.
	key, workload := newECKey(t, elliptic.P256()), "spiffe://acme.example/ns/default/sa/tools"
	tokenEndpoint := w.url + tokenPath
	w.want(w.do("POST", "/api/v1/oidc/providers", admin, map[string]any{
		"name": "mesh", "kind": "oidc", "issuer": "https://mesh.acme.example", "audiences": []string{tokenEndpoint}, "algorithms": []string{"ES256"},
		"jwks": json.RawMessage(keySet(jwk(key.Public(), "k1", nil))),
	}), 201)
	w.want(w.do("POST", "/api/v1/oidc/providers", admin, map[string]any{ // another organization's
		"name": "other", "kind": "oidc", "issuer": "https://other.acme.example", "audiences": []string{root.url + tokenPath}, "jwks": json.RawMessage(keySet(jwk(key.Public(), "k1", nil))),
	}), 400, agentidp.CodeInvalidRequest)
	w.want(w.do("POST", policiesPath, admin, map[string]any{
		"provider": "mesh", "claims": map[string]any{"sub": workload}, "agentId": agent.AgentID, "audiences": []string{mcpServer},
	}), 201)
	assertion := func(subject, audience string) string {
		payload := mustJSON(t, map[string]any{
			"iss": "https://mesh.acme.example", "sub": subject, "aud": audience, "exp": now.Add(time.Minute).Unix(), "iat": now.Unix(), "jti": agentidp.NewID(now),
		})
		return compact(header("ES256", "k1"), string(payload), es256(key))
	}
	byWorkload := func(subject, audience string, more ...string) url.Values {
		form := url.Values{"grant_type": {agentidp.GrantJWTBearer}, "assertion": {assertion(subject, audience)}, "resource": {mcpServer}, "client_id": {agent.AgentID}}
		for i := 0; i < len(more); i += 2 {
			form.Set(more[i], more[i+1])
		}
		return form
	}
	byClient := func(method string, more ...string) url.Values {
		form := url.Values{"grant_type": {agentidp.GrantClientCredentials}, "resource": {mcpServer}, "scope": {"mcp:read"}}
		client.proves(method, form)
		for i := 0; i < len(more); i += 2 {
			form.Set(more[i], more[i+1])
		}
		return form
	}
	for _, r := range []struct {
		name  string
		form  url.Values
		error string // "": a token
	}{
		{"client credentials, an assertion and no client_id", byClient("private_key_jwt"), ""},
		{"client credentials, a secret in the body", byClient("client_secret_post"), ""},
		{"client credentials, for another server", byClient("client_secret_post", "resource", "https://other.example"), "invalid_target"},
		{"client credentials, more than it may", byClient("private_key_jwt", "scope", "mcp:admin"), "invalid_scope"},
		{"a workload", byWorkload(workload, tokenEndpoint, "scope", "mcp:read"), ""},
		{"a workload, the agent by agent_id", byWorkload(workload, tokenEndpoint, "scope", "mcp:read", "client_id", "", "agent_id", agent.AgentID), ""},
		{"a workload, for another server", byWorkload(workload, tokenEndpoint, "resource", "https://other.example"), "invalid_target"},
		{"another workload", byWorkload(workload+"2", tokenEndpoint), "invalid_grant"},
		{"a token for another server", byWorkload(workload, "https://other.example/token"), "invalid_grant"},
		{"a workload that names no agent asks to register one, which no policy allows", byWorkload(workload, tokenEndpoint, "client_id", "", "resource", ""), "invalid_grant"},
	} {
		a := w.do("POST", tokenPath, "", r.form.Encode(), "Content-Type", formType)
		if r.error != "" {
			if a.Status != 400 || a.str("error") != r.error {
				t.Errorf("%s: %d %s, want %s", r.name, a.Status, a.Raw, r.error)
			}
			continue
		}
		if a.Status != 200 {
			t.Errorf("%s: %d %s", r.name, a.Status, a.Raw)
			continue
		}
		got := jwtClaims(t, a.str("access_token"))
		if got["aud"] != mcpServer || got["sub"] != agent.AgentID || got["scope"] != "mcp:read" || got["iss"] != w.url {
			t.Errorf("%s: %v", r.name, got)
		}
	}
}
