package app

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sentryagent/agentidp"
)

// identified are the claims of a repository of this name and these ids.
func identified(name, id, owner string) claims {
	return claims{"repository": name, "repository_id": id, "repository_owner_id": owner}
}

// repin lets an administrator accept the next identity of a policy's repository.
func (w *world) repin(admin, policy string) *answer {
	w.t.Helper()
	a := w.want(w.do("POST", policiesPath+"/"+policy+"/repin", admin, nil), 200)
	if a.str("id") != policy || a.Body["pinned"] != nil || a.Header.Get("ETag") == "" {
		w.t.Errorf("repin answered %s", a.Raw)
	}
	return a
}

// what was refused works once an administrator has confirmed
// it, with the very token that was refused; and what worked before does not.
func TestAnAdministratorAcceptsTheNextIdentity(t *testing.T) {
	t.Parallel()
	onBothEngines(t, func(t *testing.T, nodes []*world) {
		const changed = agentidp.CodeRepositoryIdentityChanged
		w := nodes[0]
		admin := w.admin()
		agent := w.register(admin, agentName)
		policy := w.policy(admin, map[string]any{"branch": "main", "agentId": agent}).str("id")
		sister := w.policy(admin, map[string]any{"repository": "Acme/DEPLOY", "tag": "v*", "agentId": agent}).str("id")
		was := identified(repository, "74", "65")
		w.granted(exchangeBody(w.subject(was), agent))
		for i, r := range []struct {
			name string
			next claims
		}{
			{"A-113 transferred: another owner", identified(repository, "74", "66")},
			{"A-110 made anew: another id", identified(repository, "75", "66")},
			{"A-111 the name of an owner taken over: both ids are new", identified(repository, "76", "67")},
			{"back to the first", identified(repository, "74", "65")},
		} {
			token := w.subject(r.next)
			for _, node := range nodes { // each remembers the pin
				node.outcome(exchangeBody(w.subject(was), agent), "", "")
				node.outcome(exchangeBody(token, agent), changed, "")
			}
			w.repin(admin, []string{policy, sister}[i%2])
			nodes[len(nodes)-1].outcome(exchangeBody(token, agent), "", "")
			for _, node := range nodes {
				node.outcome(exchangeBody(w.subject(was), agent), changed, "")
				node.outcome(exchangeBody(w.subject(r.next), agent), "", "")
			}
			if t.Failed() {
				t.Fatal(r.name)
			}
			was = r.next
		}
	})
}

// a renamed repository is known by the pin of its old name, so when that is
// forgotten, it is a stranger.
func TestARenamedRepositoryGoesWithThePinOfItsOldName(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	admin := w.admin()
	agent := w.register(admin, agentName)
	policy := w.policy(admin, map[string]any{"branch": "main", "agentId": agent}).str("id")
	w.try([]trial{
		{"pinned", agent, identified(repository, "74", "65"), "", ""},
		{"A-112 renamed", agent, identified("acme/shipping", "74", "65"), "", ""},
		{"A-110 its old name is another's", agent, identified(repository, "75", "65"), agentidp.CodeRepositoryIdentityChanged, ""},
	})
	w.repin(admin, policy)
	w.try([]trial{
		{"A-112 the renamed one has no policy", agent, identified("acme/shipping", "74", "65"), agentidp.CodeTrustPolicyViolation, ""},
		{"A-110 the other is accepted", agent, identified(repository, "75", "65"), "", ""},
		{"A-112 nor has the renamed one under its old name", agent, identified(repository, "74", "65"), agentidp.CodeRepositoryIdentityChanged, ""},
	})
}

// ids in a policy hold whatever the pin is, so they choose who can be next.
func TestIDsInAPolicyChooseTheNextIdentity(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	admin := w.admin()
	agent, open := w.register(admin, agentName), w.register(admin, "open@ci.acme.example")
	bound := w.policy(admin, map[string]any{"branch": "main", "agentId": agent, "repositoryId": "74", "repositoryOwnerId": "65"})
	w.try([]trial{{"pinned", agent, identified(repository, "74", "65"), "", ""}})
	w.repin(admin, bound.str("id"))
	w.try([]trial{
		{"A-110 another cannot be the next", agent, identified(repository, "75", "65"), agentidp.CodeRepositoryIdentityChanged, ""},
		{"A-113 nor can another owner's", agent, identified(repository, "74", "66"), agentidp.CodeRepositoryIdentityChanged, ""},
		{"A-114 nor one without ids", agent, claims{"repository_id": "", "repository_owner_id": ""}, agentidp.CodeInvalidToken, agentidp.ReasonClaimInvalid},
		{"the same can", agent, identified(repository, "74", "65"), "", ""},
	})
	w.repin(admin, bound.str("id"))
	w.policy(admin, map[string]any{"branch": "main", "agentId": open})
	w.try([]trial{
		{"a policy without ids lets another be the next", open, identified(repository, "75", "65"), "", ""},
		{"A-110 the policy with ids refuses that one", agent, identified(repository, "75", "65"), agentidp.CodeRepositoryIdentityChanged, ""},
		{"A-110 and the pin refuses its own", agent, identified(repository, "74", "65"), agentidp.CodeRepositoryIdentityChanged, ""},
	})

	// The way that leaves no choice to chance: close, forget, and open to the ids of one.
	replacement := func(mode, id string) map[string]any {
		return map[string]any{"provider": "github", "repository": repository, "branch": "main", "agentId": agent, "mode": mode, "repositoryId": id}
	}
	put := func(revision string, fields map[string]any) {
		t.Helper()
		w.want(w.do("PUT", policiesPath+"/"+bound.str("id"), admin, fields, "If-Match", revision), 200)
	}
	put(`"1"`, replacement("disabled", "75"))
	w.want(w.do("PUT", policiesPath+"/"+bound.str("id"), admin, replacement("disabled", "76"), "If-Match", `"2"`), 409, agentidp.CodePinConflict)
	for _, id := range w.policiesOf(open) {
		w.want(w.do("DELETE", policiesPath+"/"+id, admin, nil), 204)
	}
	w.repin(admin, bound.str("id"))
	w.try([]trial{{"nobody is next while all is closed", agent, identified(repository, "75", "65"), agentidp.CodeTrustPolicyViolation, ""}})
	put(`"2"`, replacement("enforce", "76"))
	w.try([]trial{
		{"A-110 who comes first is not asked", agent, identified(repository, "75", "65"), agentidp.CodeRepositoryIdentityChanged, ""},
		{"who was named is", agent, identified(repository, "76", "65"), "", ""},
	})
}

// what the former identity registered is not the next one's to register, and
// what it was issued lives on until somebody ends it.
func TestTheNextIdentityAndTheAgentsOfTheFormer(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	admin := w.admin()
	policy := w.policy(admin, map[string]any{"branch": "main", "trustRegisteredAgents": true}).str("id")
	former, next := identified(repository, "74", "65"), identified(repository, "75", "65")
	name := map[string]any{"name": agentName}
	held := w.bootstrap(former)
	agent := w.want(w.do("POST", agentsPath, held, name), 201).str("agentId")
	w.repin(admin, policy)

	w.granted(exchangeBody(w.subject(next), agent)) // its policy names the repository
	w.refused(exchangeBody(w.subject(former), agent), 403, agentidp.CodeRepositoryIdentityChanged)
	w.want(w.do("POST", agentsPath, w.bootstrap(next), name), 409, agentidp.CodeAgentNameTaken)
	w.want(w.do("POST", agentsPath, held, name), 200)
	revoked := w.want(w.do("POST", revokeAllPath, admin, map[string]any{"repositoryId": "74"}), 200)
	if revoked.Body["revoked"] != 1.0 {
		t.Errorf("%s, want the bootstrap token", revoked.Raw)
	}
	w.want(w.do("POST", agentsPath, held, name), 401, agentidp.CodeInvalidToken)
}

// pins belong to an organization.
func TestRepinStaysInItsOrganization(t *testing.T) {
	t.Parallel()
	a := newWorld(t)
	b := a.tenant("bravo")
	agents, policies := map[*world]string{}, map[*world]string{}
	for _, w := range []*world{a, b} {
		admin := w.admin()
		agents[w] = w.register(admin, agentName)
		policies[w] = w.policy(admin, map[string]any{"branch": "main", "agentId": agents[w]}).str("id")
		w.granted(exchangeBody(w.mint(identified(repository, "74", "65")), agents[w]))
	}
	b.repin(b.admin(), policies[b])
	a.refused(exchangeBody(a.mint(identified(repository, "75", "65")), agents[a]), 403, agentidp.CodeRepositoryIdentityChanged)
	b.granted(exchangeBody(b.mint(identified(repository, "75", "65")), agents[b]))
}

// pinRace is a crowd of clients of two repositories that claim one name.
type pinRace struct {
	*world
	agent string
	epoch atomic.Int64 // odd while a repin is under way
	over  atomic.Bool

	mu      sync.Mutex
	more    *sync.Cond
	granted map[int64]map[string]int // by epoch and repository id
	refused string                   // the last that was heard
	failed  error
}

// client exchanges at one node in the name of one repository. What was granted from
// beginning to end between two repins is told.
func (r *pinRace) client(node *world, id string) error {
	token := ""
	for !r.over.Load() {
		if token == "" {
			token = r.subject(identified(repository, id, "65"))
		}
		epoch := r.epoch.Load()
		a, err := node.send("POST", exchangePath, "", exchangeBody(token, r.agent))
		if err == nil && a.Status != 200 {
			r.hear(a)
		}
		switch {
		case err != nil:
			return err
		case a.Status == 200:
			token = ""
			if epoch%2 == 0 && r.epoch.Load() == epoch {
				r.note(epoch, id)
			}
		case a.Status == 503 && a.str("code") == agentidp.CodeTemporarilyUnavailable: // it may come at any point
			token = ""
		case a.Status != 403 || a.str("code") != agentidp.CodeRepositoryIdentityChanged:
			return fmt.Errorf("refused with %s", a.Raw)
		}
	}
	return nil
}

func (r *pinRace) hear(refusal *answer) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.refused = fmt.Sprintf("%d %s", refusal.Status, refusal.Raw)
}

func (r *pinRace) note(epoch int64, id string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.granted[epoch] == nil {
		r.granted[epoch] = map[string]int{}
	}
	r.granted[epoch][id]++
	r.more.Broadcast()
}

// fail ends the waiting.
func (r *pinRace) fail(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.failed == nil {
		r.failed = err
	}
	r.more.Broadcast()
}

// wait returns when the epoch has seen some grants, or something has failed: also
// when none come for a minute.
func (r *pinRace) wait() {
	r.t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	defer time.AfterFunc(time.Minute, func() { r.fail(errors.New("not enough grants in a minute")) }).Stop()
	seen := func() (n int) {
		for _, count := range r.granted[r.epoch.Load()] {
			n += count
		}
		return n
	}
	for seen() < 2*raceClients && r.failed == nil {
		r.more.Wait()
	}
}

// while two repositories of one name exchange all the time, at two
// nodes, each repin returns, and from then to the next one grants go to one of them
// alone: to whichever came first.
func TestNoGrantRestsOnAForgottenPin(t *testing.T) {
	t.Parallel()
	onBothEngines(t, func(t *testing.T, nodes []*world) {
		const repins = 6
		w := nodes[0]
		admin := w.admin()
		r := &pinRace{world: w, agent: w.register(admin, agentName), granted: map[int64]map[string]int{}}
		r.more = sync.NewCond(&r.mu)
		policies := []string{
			w.policy(admin, map[string]any{"branch": "main", "agentId": r.agent}).str("id"),
			w.policy(admin, map[string]any{"agentId": r.agent}).str("id"),
		}
		var wg sync.WaitGroup
		for i := range raceClients {
			wg.Go(func() {
				if err := r.client(nodes[i%len(nodes)], []string{"74", "75"}[i/2%2]); err != nil {
					r.fail(err)
				}
			})
		}
		r.wait()
		for i := range repins {
			r.epoch.Add(1)
			nodes[i%len(nodes)].repin(admin, policies[i/2%2])
			r.epoch.Add(1)
			r.wait()
		}
		r.over.Store(true)
		wg.Wait()
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.failed != nil {
			t.Fatalf("%v; the last refusal was %s", r.failed, r.refused)
		}
		for epoch, ids := range r.granted {
			if len(ids) != 1 {
				t.Errorf("after %d repins tokens were granted to %v", epoch/2, ids)
			}
		}
		pin, err := w.app.db.Pin(t.Context(), w.org().ID, "github", repository)
		if err != nil || r.granted[2*repins][pin.RepositoryID] == 0 {
			t.Errorf("pinned to %+v, and granted to %v; %v", pin, r.granted[2*repins], err)
		}
		for typ, want := range map[agentidp.EventType]int{agentidp.EventRepositoryPinned: repins + 1, agentidp.EventRepositoryRepinned: repins} {
			events, err := w.app.db.Events(t.Context(), w.org().ID, &agentidp.EventFilter{Type: typ}, "", 100)
			if err != nil || len(events) != want {
				t.Errorf("%d events %s, want %d; %v", len(events), typ, want, err)
			}
		}
	})
}

// However many confirm it at once, one identity is forgotten, once.
func TestOnePinForgottenManyTimesAtOnce(t *testing.T) {
	t.Parallel()
	onBothEngines(t, func(t *testing.T, nodes []*world) {
		w := nodes[0]
		admin := w.admin()
		agent := w.register(admin, agentName)
		var policies []string
		for _, branch := range []string{"main", "dev", "release"} {
			policies = append(policies, w.policy(admin, map[string]any{"branch": branch, "agentId": agent}).str("id"))
		}
		w.granted(exchangeBody(w.subject(nil), agent))
		counts := atOnce(t, 24, func(i int) (*answer, error) {
			return nodes[i%len(nodes)].send("POST", policiesPath+"/"+policies[i%3]+"/repin", admin, nil)
		})
		events, err := w.app.db.Events(t.Context(), w.org().ID, &agentidp.EventFilter{Type: agentidp.EventRepositoryRepinned}, "", 100)
		if counts["200 "] != 24 || len(events) != 1 || err != nil {
			t.Errorf("%v, %d events, %v", counts, len(events), err)
		}
	})
}
