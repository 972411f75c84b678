package app

import (
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sentryagent/agentidp"
)

// However many ask at once, an agent has at most twenty credentials that are good; one
// that has ended makes room.
func TestAnAgentHasAtMostTwentyLiveCredentials(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	admin := w.admin()
	path := agentsPath + "/" + w.register(admin, "deployer@ci.acme.example") + "/credentials"
	create := func(body map[string]any) *answer { return w.do("POST", path, admin, body) }
	last := w.want(create(map[string]any{"type": "secret", "expiresAt": w.clock.Now().Add(time.Hour)}), 201).str("credentialId")

	var made, refused atomic.Int64
	var all sync.WaitGroup
	for range 30 {
		all.Go(func() {
			switch a, err := w.send("POST", path, admin, map[string]any{"type": "secret"}); {
			case err != nil:
				t.Error(err)
			case a.Status == 201:
				made.Add(1)
			case a.Status == 409 && a.str("code") == agentidp.CodeCredentialLimitReached:
				refused.Add(1)
			default:
				t.Errorf("%d %s", a.Status, a.str("code"))
			}
		})
	}
	all.Wait()
	if made.Load() != 19 || refused.Load() != 11 {
		t.Fatalf("%d were made beside the first, and %d refused", made.Load(), refused.Load())
	}
	rotate := path + "/" + last + "/rotate"
	w.want(w.do("POST", rotate, admin, map[string]any{"graceSeconds": 60}), 409, agentidp.CodeCredentialLimitReached)
	last = w.want(w.do("POST", rotate, admin, nil), 201).str("credentialId") // one for another
	w.want(create(map[string]any{"type": "secret"}), 409, agentidp.CodeCredentialLimitReached)
	w.clock.advance(time.Hour)
	admin = w.admin()
	w.want(create(map[string]any{"type": "secret"}), 201)
	w.want(create(map[string]any{"type": "secret"}), 409, agentidp.CodeCredentialLimitReached)
	w.want(w.do("POST", path+"/"+last+"/rotate", admin, nil), 400, agentidp.CodeInvalidRequest) // it has ended
}

// Whoever makes credentials and ends them without end leaves a hundred that have ended; of
// the others the audit log knows.
func TestOfEndedCredentialsTheNewestAreKept(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	admin := w.admin()
	path := agentsPath + "/" + w.register(admin, agentName) + "/credentials"
	create := func() string {
		return w.want(w.do("POST", path, admin, map[string]any{"type": "secret"}), 201).str("credentialId")
	}
	want := []string{create()} // the one that lives to the end
	next := create()
	ended := []string{next}
	for range 101 {
		next = w.want(w.do("POST", path+"/"+next+"/rotate", admin, nil), 201).str("credentialId")
		ended = append(ended, next)
	}
	w.want(w.do("DELETE", path+"/"+ended[0], admin, nil), 404, agentidp.CodeNotFound)
	w.want(w.do("DELETE", path+"/"+ended[1], admin, nil), 204)
	want = append(want, ended[1:]...) // of which the last lives, too

	var have []string
	items, _ := w.want(w.do("GET", path+"?limit=200", admin, nil), 200).Body["items"].([]any)
	for _, item := range items {
		have = append(have, item.(map[string]any)["credentialId"].(string))
	}
	if !slices.Equal(have, want) {
		t.Errorf("%d are listed, want %d:\n%v\n%v", len(have), len(want), have, want)
	}
	first := w.want(w.do("GET", "/api/v1/audit/events?type=credential_rotated&limit=200", admin, nil), 200).Raw
	if !strings.Contains(string(first), ended[0]) {
		t.Error("the audit log does not name the one that was forgotten")
	}
}

func TestARotatedSecretLivesAsLongAsTheOneBefore(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.clock.freeze()
	admin := w.admin()
	path := agentsPath + "/" + w.register(admin, "deployer@ci.acme.example") + "/credentials"
	began := w.clock.Now()
	first := w.want(w.do("POST", path, admin, map[string]any{"type": "secret", "expiresAt": began.Add(10 * time.Hour)}), 201).str("credentialId")
	w.clock.advance(4 * time.Hour)
	admin = w.admin()
	second := w.want(w.do("POST", path+"/"+first+"/rotate", admin, map[string]any{"graceSeconds": 3600}), 201).str("credentialId")
	w.clock.advance(time.Minute)
	w.want(w.do("POST", path+"/"+second+"/rotate", admin, map[string]any{"graceSeconds": 11 * 3600}), 201)
	items, _ := w.want(w.do("GET", path, admin, nil), 200).Body["items"].([]any)
	for i, want := range []time.Duration{
		5 * time.Hour,                // grace, counted from the rotation
		14 * time.Hour,               // its own end, which comes before that of the grace
		14*time.Hour + 1*time.Minute, // ten hours again
	} {
		at, err := time.Parse(time.RFC3339Nano, items[i].(map[string]any)["expiresAt"].(string))
		if err != nil || at.Sub(began) != want {
			t.Errorf("credential %d ends after %v, want %v (%v)", i+1, at.Sub(began), want, err)
		}
	}
}

// what the API gives is what authenticates: a secret from the moment of the answer until
// it ends, which a rotation may put off, at every node and whatever the node's clock.
func TestASecretAuthenticatesUntilItEnds(t *testing.T) {
	t.Parallel()
	onBothEngines(t, func(t *testing.T, nodes []*world) {
		w := nodes[0]
		admin := w.admin()
		agent := w.register(admin, agentName)
		path := agentsPath + "/" + agent + "/credentials"
		client := func(a *answer) *askingClient {
			w.want(a, 201)
			return &askingClient{world: w, id: agent, secret: a.str("clientSecret"), credential: a.str("credentialId")}
		}
		authenticates := func(when string, c *askingClient, want bool) {
			t.Helper()
			for i, node := range nodes {
				c := *c
				c.world = node
				status, code := 200, ""
				if !want {
					status, code = 401, agentidp.CodeInvalidClient
				}
				for range 2 { // from the database, and from what was kept of it
					if a := c.asks(introspectionPath, "client_secret_basic", "changeme"); a.Status != status || a.str("code") != code {
						t.Errorf("%s, at node %d: %d %s, want %d", when, i, a.Status, a.str("code"), status)
					}
				}
			}
		}
		first := client(w.do("POST", path, admin, map[string]any{"type": "secret"}))
		authenticates("the first", first, true)
		second := client(w.do("POST", path+"/"+first.credential+"/rotate", admin, map[string]any{"graceSeconds": 600}))
		authenticates("the first, in its time of grace", first, true)
		authenticates("the second", second, true)
		w.clock.advance(10 * time.Minute)
		authenticates("the first, after its time of grace", first, false)
		third := client(w.do("POST", path+"/"+second.credential+"/rotate", admin, nil))
		authenticates("the second, rotated without grace", second, false)
		authenticates("the third", third, true)
		w.want(w.do("DELETE", path+"/"+third.credential, admin, nil), 204)
		w.clock.advance(-time.Minute) // this one is behind
		authenticates("the third, deleted", third, false)
	})
}
