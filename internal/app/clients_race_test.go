package app

import (
	"encoding/base64"
	"fmt"
	"net/url"
	"testing"

	"github.com/sentryagent/agentidp"
)

// client is an agent with a secret of its own.
type client struct {
	agent, credential string // ids
	basic             string // the Authorization header
}

// newClient registers an agent and makes a secret for it.
func (w *world) newClient(admin, name string) *client {
	w.t.Helper()
	agent := w.register(admin, name, "deploy:staging")
	c := w.want(w.do("POST", agentsPath+"/"+agent+"/credentials", admin, map[string]any{"type": "secret"}), 201)
	return &client{agent, c.str("credentialId"), "Basic " + base64.StdEncoding.EncodeToString([]byte(agent+":"+c.str("clientSecret")))}
}

// ownGrant is the form with which a client asks for a token for itself.
const ownGrant = "grant_type=" + agentidp.GrantClientCredentials

// clientChanges is what an administrator does about a client that is under way.
var clientChanges = []struct {
	name string
	make func(w *world, admin string, c *client)
	code string // of the token endpoint's refusals from then on
}{
	{"the credential is revoked", func(w *world, admin string, c *client) {
		w.want(w.do("DELETE", agentsPath+"/"+c.agent+"/credentials/"+c.credential, admin, nil), 204)
	}, agentidp.CodeInvalidClient},
	{"the credential is rotated", func(w *world, admin string, c *client) {
		w.want(w.do("POST", agentsPath+"/"+c.agent+"/credentials/"+c.credential+"/rotate", admin, nil), 201)
	}, agentidp.CodeInvalidClient},
	{"the agent is suspended", func(w *world, admin string, c *client) {
		w.want(w.do("POST", agentsPath+"/"+c.agent+"/suspend", admin, nil), 200)
	}, agentidp.CodeAgentNotActive},
	{"the agent is decommissioned", func(w *world, admin string, c *client) {
		w.want(w.do("DELETE", agentsPath+"/"+c.agent, admin, nil), 204)
	}, agentidp.CodeInvalidClient},
}

// what is remembered of a client opens no window, while it asks all the time, at
// one node or another.
func TestNoTokenIsIssuedToAClientAfterAChange(t *testing.T) {
	t.Parallel()
	onBothEngines(t, func(t *testing.T, nodes []*world) {
		admin := nodes[0].admin()
		for i, change := range clientChanges {
			t.Run(change.name, func(t *testing.T) {
				w := nodes[0].in(t)
				c := w.newClient(admin, fmt.Sprintf("client%d@ci.acme.example", i))
				r := &exchangeRace{world: w, nodes: nodes, own: ownGrant, basic: c.basic, code: change.code, warm: make(chan struct{})}
				r.run(func() { change.make(w, admin, c) })
			})
		}
	})
}

// Nor where nothing is committed that would be compared: a client that asks about tokens
// is the one that the database has at that moment, at every node.
func TestAWarmClientIsNoWindow(t *testing.T) {
	t.Parallel()
	onBothEngines(t, func(t *testing.T, nodes []*world) {
		w := nodes[0]
		admin := w.admin()
		for i, change := range clientChanges {
			c := w.newClient(admin, fmt.Sprintf("asker%d@ci.acme.example", i))
			a := w.want(w.do("POST", tokenPath, "", ownGrant, "Content-Type", formType, "Authorization", c.basic), 200)
			form := url.Values{"token": {a.str("access_token")}}.Encode()
			ask := func(node *world) *answer {
				return node.do("POST", introspectionPath, "", form, "Content-Type", formType, "Authorization", c.basic)
			}
			for _, node := range nodes {
				for range 2 {
					if a := node.want(ask(node), 200); a.Body["active"] != true {
						t.Errorf("%s, before: %s", change.name, a.Raw)
					}
				}
			}
			change.make(w, admin, c)
			for _, node := range nodes {
				if a := ask(node); a.Status != 401 || a.str("code") != agentidp.CodeInvalidClient {
					t.Errorf("%s: %d %s", change.name, a.Status, a.Raw)
				}
			}
		}
	})
}
