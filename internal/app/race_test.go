package app

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/config"
	"github.com/sentryagent/agentidp/internal/pgtest"
)

// onPostgres puts a server on an empty PostgreSQL database.
func onPostgres(t *testing.T) option {
	t.Helper()
	url, key := pgtest.Start(t), make([]byte, 32)
	_, _ = rand.Read(key)
	return func(c *config.Config) { c.DatabaseURL, c.MasterKey = url, base64.StdEncoding.EncodeToString(key) }
}

// onBothEngines runs a test on SQLite, and on PostgreSQL with a second server on
// the same database. The first of the nodes is where everything is managed.
func onBothEngines(t *testing.T, test func(t *testing.T, nodes []*world), options ...option) {
	t.Helper()
	t.Run("SQLite", func(t *testing.T) {
		t.Parallel()
		test(t, []*world{newWorld(t, options...)})
	})
	t.Run("PostgreSQL", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, append([]option{onPostgres(t)}, options...)...)
		test(t, []*world{w, w.node()})
	})
}

// three adds a third server where there are two.
func three(nodes []*world) []*world {
	if len(nodes) == 1 {
		return nodes
	}
	return append(nodes, nodes[0].node())
}

// node starts another server of the same installation, which answers at another
// address under the same public URL.
func (w *world) node() *world {
	w.t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		w.t.Fatal(err)
	}
	cfg := w.app.cfg
	cfg.DataDir, cfg.Listen = filepath.Join(w.t.TempDir(), "node"), listener.Addr().String()
	other := *w
	other.url = "http://" + cfg.Listen
	other.start(cfg, listener)
	return &other
}

// change is what an administrator does about an agent that is under way, and what
// is answered to its runs from then on.
type change struct {
	name string
	make func(w *world, admin, agent string, policy *answer) *answer
	code string
}

var changes = []change{
	{"A-154 the policy is deleted", func(w *world, admin, _ string, p *answer) *answer {
		return w.want(w.do("DELETE", policiesPath+"/"+p.str("id"), admin, nil), 204)
	}, agentidp.CodeTrustPolicyViolation},
	{"A-156 the policy is narrowed to another branch", func(w *world, admin, agent string, p *answer) *answer {
		return w.replace(admin, p, map[string]any{"agentId": agent, "branch": "release"})
	}, agentidp.CodeBranchNotPermitted},
	{"A-156 the policy is narrowed to another event", func(w *world, admin, agent string, p *answer) *answer {
		return w.replace(admin, p, map[string]any{"agentId": agent, "branch": "main", "events": []string{"schedule"}})
	}, agentidp.CodeEventNotPermitted},
	{"A-154 the policy is disabled", func(w *world, admin, agent string, p *answer) *answer {
		return w.replace(admin, p, map[string]any{"agentId": agent, "branch": "main", "mode": "disabled"})
	}, agentidp.CodeTrustPolicyViolation},
	{"A-153 the agent is suspended", func(w *world, admin, agent string, _ *answer) *answer {
		return w.want(w.do("POST", agentsPath+"/"+agent+"/suspend", admin, nil), 200)
	}, agentidp.CodeAgentNotActive},
	{"A-153 the agent is decommissioned", func(w *world, admin, agent string, _ *answer) *answer {
		return w.want(w.do("DELETE", agentsPath+"/"+agent, admin, nil), 204)
	}, agentidp.CodeAgentNotActive},
}

// replace puts a policy of the usual repository in the place of one.
func (w *world) replace(admin string, old *answer, fields map[string]any) *answer {
	w.t.Helper()
	fields["provider"], fields["repository"] = "github", repository
	return w.want(w.do("PUT", policiesPath+"/"+old.str("id"), admin, fields, "If-Match", old.Header.Get("ETag")), 200)
}

// the promise of "no window", while clients exchange all the time.
func TestNoGrantBeginsAfterAChange(t *testing.T) {
	t.Parallel()
	onBothEngines(t, func(t *testing.T, nodes []*world) {
		admin := nodes[0].admin()
		for i, c := range changes {
			t.Run(c.name, func(t *testing.T) {
				w := nodes[0].in(t)
				agent := w.register(admin, fmt.Sprintf("racer%d@ci.acme.example", i))
				policy := w.policy(admin, map[string]any{"agentId": agent, "branch": "main"})
				r := &exchangeRace{world: w, nodes: nodes, agent: agent, code: c.code, warm: make(chan struct{})}
				r.run(func() { c.make(w, admin, agent, policy) })
			})
		}
	})
}

// exchangeRace is a crowd of clients that exchange one token after the other.
type exchangeRace struct {
	*world
	nodes []*world
	agent string
	own   string             // the form of a grant without a CI's token, and so with nothing that is used up; empty: CI's are exchanged
	basic string             // the client that asks for it, as it stands in the Authorization header; empty: none
	code  string             // of the refusals after the change
	says  claims             // the subject tokens, beside the usual
	keep  func(token string) // gets every access token; nil: nobody wants them

	granted atomic.Int64
	warm    chan struct{} // closed when every client has had some
	over    atomic.Bool   // the change was answered
}

const (
	raceClients = 16
	raceGrants  = 3 * raceClients // before the change
	raceAfter   = 3               // exchanges of each client that begin after it
)

func (r *exchangeRace) run(change func()) {
	r.t.Helper()
	var wg sync.WaitGroup
	errs := make([]error, raceClients)
	for i := range raceClients { // at each node through each door
		wg.Go(func() { errs[i] = r.client(r.nodes[i%len(r.nodes)].through(allDoors[i/len(r.nodes)%len(allDoors)])) })
	}
	<-r.warm
	change()
	r.over.Store(true)
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		r.t.Fatal(err)
	}
}

// client exchanges at one node until the change is behind it. It takes a fresh
// token after each grant, for a refusal leaves the token as it is.
func (r *exchangeRace) client(node *world) error {
	token := r.subject(r.says)
	for after := 0; after < raceAfter; {
		began := r.over.Load()
		a, err := r.ask(node, token)
		switch {
		case err != nil:
			r.grant(raceGrants) // do not wait for this client
			return err
		case a.Status == 200 && began:
			return fmt.Errorf("granted although it began after the change: %s", a.Raw)
		case a.Status == 200:
			if r.keep != nil {
				r.keep(a.str("access_token"))
			}
			r.grant(1)
			token = r.subject(r.says)
		case a.str("code") == agentidp.CodeTemporarilyUnavailable: // it may come at any point
		case a.str("code") != r.code || a.Status != r.status(node.door):
			r.grant(raceGrants)
			return fmt.Errorf("refused with %s, want %s", a.Raw, r.code)
		}
		if began {
			after++
		}
	}
	return nil
}

func (r *exchangeRace) ask(node *world, token string) (*answer, error) {
	if r.own != "" {
		headers := []string{"Content-Type", formType}
		if r.basic != "" {
			headers = append(headers, "Authorization", r.basic)
		}
		return node.send("POST", tokenPath, "", r.own, headers...)
	}
	return node.submits(exchangeBody(token, r.agent))
}

// status is that of the refusals after the change, at a door.
func (r *exchangeRace) status(d *door) int {
	status := 403
	switch {
	case r.code == agentidp.CodeInvalidClient:
		return 401
	case r.own != "":
		return 400
	case r.code == agentidp.CodeNotFound:
		return 404
	case r.code == agentidp.CodeInvalidToken:
		status = 401
	}
	if d != nil {
		status, _ = d.at(status, r.code)
	}
	return status
}

func (r *exchangeRace) grant(n int64) {
	if before := r.granted.Add(n) - n; before < raceGrants && before+n >= raceGrants {
		close(r.warm)
	}
}

// A warm cache delays neither a refusal nor a grant, on this node or another.
func TestAWarmCacheIsNoWindow(t *testing.T) {
	t.Parallel()
	onBothEngines(t, noWindow)
}

func noWindow(_ *testing.T, nodes []*world) {
	admin := nodes[0].admin()
	for i, c := range changes {
		w := nodes[0]
		agent := w.register(admin, fmt.Sprintf("warm%d@ci.acme.example", i))
		w.everywhere(nodes, agent, agentidp.CodeTrustPolicyViolation)
		policy := w.policy(admin, map[string]any{"agentId": agent, "branch": "main"})
		w.everywhere(nodes, agent, "")
		after := c.make(w, admin, agent, policy)
		w.everywhere(nodes, agent, c.code)
		switch {
		case c.code == agentidp.CodeTrustPolicyViolation && after.Status == 204:
			w.policy(admin, map[string]any{"agentId": agent, "branch": "main"})
		case after.str("provider") != "":
			w.replace(admin, after, map[string]any{"agentId": agent, "branch": "main"})
		case after.Status == 200:
			w.want(w.do("POST", agentsPath+"/"+agent+"/reactivate", admin, nil), 200)
		default:
			continue // decommissioned is final
		}
		w.everywhere(nodes, agent, "")
	}
}

// everywhere exchanges a fresh token at each node and asserts the same outcome.
func (w *world) everywhere(nodes []*world, agent, code string) {
	w.t.Helper()
	for _, node := range nodes {
		for _, d := range allDoors {
			node.through(d).outcome(exchangeBody(w.subject(nil), agent), code, "")
		}
	}
}

// however many try, a subject token is good for one grant.
func TestA096OneTokenTwoHundredTimesAtOnce(t *testing.T) {
	t.Parallel()
	onBothEngines(t, func(t *testing.T, nodes []*world) {
		w := nodes[0]
		if len(nodes) > 1 { // A-096 says three
			nodes = append(nodes, w.node())
		}
		body := exchangeBody(w.subject(nil), w.agentWithPolicy(w.admin()))
		counts := atOnce(t, 200, func(i int) (*answer, error) { return nodes[i%len(nodes)].send("POST", exchangePath, "", body) })
		if counts["200 "] != 1 || counts["401 token_replayed"] != 199 {
			t.Errorf("%v", counts)
		}
	})
}

// atOnce makes n requests at the same time and counts the answers by status and
// reason or code.
func atOnce(t *testing.T, n int, request func(i int) (*answer, error)) map[string]int {
	t.Helper()
	var wg sync.WaitGroup
	answers, errs := make([]*answer, n), make([]error, n)
	for i := range n {
		wg.Go(func() { answers[i], errs[i] = request(i) })
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	counts := map[string]int{}
	for _, a := range answers {
		why := a.str("reason")
		if why == "" {
			why = a.str("code")
		}
		counts[fmt.Sprint(a.Status, " ", why)]++
	}
	return counts
}

//
func TestTheLimitOnAgentsHoldsUnderConcurrency(t *testing.T) {
	t.Parallel()
	onBothEngines(t, func(t *testing.T, nodes []*world) {
		w := nodes[0]
		policy := w.policy(w.admin(), map[string]any{"maxAgents": 10}).str("id")
		token := w.bootstrap(nil)
		counts := atOnce(t, 50, func(i int) (*answer, error) {
			return nodes[i%len(nodes)].send("POST", agentsPath, token, map[string]any{"name": fmt.Sprintf("a%d@ci.acme.example", i)})
		})
		living, err := w.app.db.CountLivingAgents(t.Context(), w.org().ID, policy)
		if err != nil || living != 10 || counts["201 "] != 10 || counts["403 "+agentidp.CodeAgentLimitReached] != 40 {
			t.Errorf("%v; %d living, %v", counts, living, err)
		}
	})
}

//
func TestOneNameRegisteredManyTimesAtOnce(t *testing.T) {
	t.Parallel()
	onBothEngines(t, func(t *testing.T, nodes []*world) {
		w := nodes[0]
		admin := w.admin()
		w.policy(admin, map[string]any{"branch": "main"})
		w.policy(admin, map[string]any{"branch": "dev"})
		w.policy(admin, map[string]any{"repository": "bravo/deploy"})
		main, dev := w.bootstrap(nil), w.bootstrap(claims{"ref": "refs/heads/dev"})
		other := w.bootstrap(stranger("bravo/deploy"))
		register := func(name string, tokens ...string) map[string]int {
			return atOnce(t, 24, func(i int) (*answer, error) {
				return nodes[i%len(nodes)].send("POST", agentsPath, tokens[i/len(nodes)%len(tokens)], map[string]any{"name": name})
			})
		}
		const taken = "409 " + agentidp.CodeAgentNameTaken
		if c := register("one@ci.acme.example", main); c["201 "] != 1 || c["200 "] != 23 {
			t.Errorf("by one policy: %v", c)
		}
		if c := register("two@ci.acme.example", main, dev); c["201 "] != 1 || c["200 "] != 23 {
			t.Errorf("by two policies of one repository: %v", c)
		}
		if c := register("three@ci.acme.example", main, other); c["201 "] != 1 || c["200 "] != 11 || c[taken] != 12 {
			t.Errorf("by two repositories: %v", c)
		}
		if c := register("four@ci.acme.example", admin); c["201 "] != 1 || c[taken] != 23 {
			t.Errorf("by an administrator: %v", c)
		}
		if n := len(w.want(w.do("GET", agentsPath, admin, nil), 200).Body["items"].([]any)); n != 4 {
			t.Errorf("%d agents, want 4", n)
		}
	})
}
