package app

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sentryagent/agentidp"
)

// at returns an organization as seen from every node.
func at(nodes []*world, slug string) []*world {
	var all []*world
	for _, node := range nodes {
		all = append(all, node.under(slug))
	}
	return all
}

func TestANewOrganizationIsServedAtOnce(t *testing.T) {
	t.Parallel()
	onBothEngines(t, func(t *testing.T, nodes []*world) {
		nodes[0].clock.freeze() // whatever is remembered stays as young as it is
		seen := at(nodes, "acme")
		for _, node := range seen {
			node.want(node.do("GET", "/.well-known/jwks.json", "", nil), 404, agentidp.CodeNotFound)
			node.want(node.exchange(exchangeBody(seen[0].subject(nil), "")), 404, agentidp.CodeNotFound)
		}
		w := nodes[0].tenant("acme")
		kids := w.keyIDs()
		for _, node := range slices.Backward(seen) {
			if got := node.keyIDs(); len(got) != 1 || !slices.Equal(got, kids) {
				t.Errorf("the keys are %v, elsewhere %v", got, kids)
			}
			node.refused(exchangeBody(w.subject(nil), ""), 403, agentidp.CodeTrustPolicyViolation)
			w.want(node.do("GET", agentsPath, w.admin(), nil), 200)
		}
		w.everywhere(seen, w.agentWithPolicy(w.admin()), "")
		for _, node := range nodes { // and the default organization has nothing of it
			node.refused(exchangeBody(nodes[0].subject(nil), ""), 403, agentidp.CodeTrustPolicyViolation)
		}
	})
}

func TestWhatAnOrganizationMayBe(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx := t.Context()
	long := strings.Repeat("a", 63)
	for _, r := range []struct{ name, slug, text, bad string }{
		{"a word", "acme", "", ""},
		{"with inner hyphens and digits", "1-a--b-2", "Acme Robotics, Zürich 🤖", ""},
		{"63 letters, and a name of 254", long, strings.Repeat("ü", 254), ""},
		{"64 letters", long + "a", "", "slug"},
		{"nothing", "", "", "slug"},
		{"a capital", "Acme", "", "slug"},
		{"a hyphen in front", "-acme", "", "slug"},
		{"a hyphen behind", "acme-", "", "slug"},
		{"a dot", "acme.com", "", "slug"},
		{"a slash", "acme/o", "", "slug"},
		{"an umlaut", "zürich", "", "slug"},
		{"the default one", "default", "", "slug"},
		{"a name of 255", "b", strings.Repeat("x", 255), "name"},
		{"a name of two lines", "b", "a\nb", "name"},
		{"a name with an escape", "b", "\x1b[2J", "name"},
		{"a name that is no text", "b", "\xff", "name"},
		{"both wrong", "B", "\x00", "slug name"},
	} {
		org, err := w.app.CreateOrganization(ctx, r.slug, r.text)
		if r.bad != "" {
			var fields []string
			for _, d := range agentidp.AsError(err).Details {
				fields = append(fields, d.Field)
			}
			if agentidp.AsError(err).Kind != agentidp.Invalid || strings.Join(fields, " ") != r.bad {
				t.Errorf("%s: %v, want %s refused", r.name, err, r.bad)
			}
			continue
		}
		if r.text == "" {
			r.text = r.slug
		}
		if err != nil || org.Name != r.text || org.Issuer != w.url+"/o/"+r.slug {
			t.Errorf("%s: %+v, %v", r.name, org, err)
		}
	}
	all, err := w.app.Organizations(ctx)
	if err != nil || len(all) != 4 || all[0].Slug != "default" || all[0].Issuer != w.url {
		t.Errorf("%+v, %v", all, err)
	}
}

// A slug names an issuer, and an issuer is one organization for ever.
func TestASlugIsGivenOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx := t.Context()
	acme := w.tenant("acme")
	kid, id := acme.keyIDs()[0], acme.org().ID
	taken := func(when string) {
		t.Helper()
		if _, err := w.app.CreateOrganization(ctx, "acme", ""); agentidp.AsError(err).Code != agentidp.CodeOrganizationExists {
			t.Errorf("%s: %v", when, err)
		}
	}
	taken("while it is there")
	if got := acme.keyIDs(); len(got) != 1 || got[0] != kid {
		t.Errorf("a refused creation changed its keys: %v", got)
	}
	if org, closed, err := w.app.CloseOrganization(ctx, "acme"); err != nil || !closed || org.Status != agentidp.OrganizationClosed {
		t.Fatalf("%+v, %v, %v", org, closed, err)
	}
	taken("after it was closed")
	if org, closed, err := w.app.CloseOrganization(ctx, "acme"); err != nil || closed || org.Status != agentidp.OrganizationClosed {
		t.Errorf("closed again: %+v, %v, %v", org, closed, err)
	}
	for slug, kind := range map[string]agentidp.Kind{"default": agentidp.Invalid, "nobody": agentidp.NotFound, "NO": agentidp.NotFound} {
		if _, _, err := w.app.CloseOrganization(ctx, slug); agentidp.AsError(err).Kind != kind {
			t.Errorf("closing %s: %v", slug, err)
		}
	}
	events, err := w.app.db.Events(ctx, id, &agentidp.EventFilter{}, "", 10)
	if err != nil {
		t.Fatal(err)
	}
	var types []string
	for _, e := range slices.Backward(events) {
		types = append(types, string(e.Type)+" by "+e.Actor)
	}
	if got := strings.Join(types, ", "); got != "signing_key_created by operator, organization_created by operator, organization_closed by operator" &&
		got != "organization_created by operator, signing_key_created by operator, organization_closed by operator" {
		t.Errorf("the events are: %s", got)
	}
}

// firstAsked is what a node is asked first after an organization was closed: nothing has
// told it before.
var firstAsked = []struct {
	name string
	ask  func(node, w *world, admin, agent string) *answer
}{
	{"a good exchange", func(node, w *world, _, agent string) *answer {
		return node.exchange(exchangeBody(w.subject(nil), agent))
	}},
	{"an exchange that was refused before", func(node, w *world, _, agent string) *answer {
		return node.exchange(exchangeBody(w.subject(claims{"ref": "refs/heads/dev"}), agent))
	}},
	{"an exchange for another audience", func(node, w *world, _, agent string) *answer {
		return node.exchange(exchangeBody(w.subject(claims{"aud": "https://other.example"}), agent))
	}},
	{"the management API", func(node, _ *world, admin, _ string) *answer { return node.do("GET", agentsPath, admin, nil) }},
	{"a change", func(node, _ *world, admin, _ string) *answer {
		return node.do("POST", agentsPath, admin, map[string]any{"name": "late@ci.acme.example"})
	}},
	{"the key set", func(node, _ *world, _, _ string) *answer { return node.do("GET", "/.well-known/jwks.json", "", nil) }},
	{"the metadata", func(node, _ *world, _, _ string) *answer {
		return node.do("GET", "/.well-known/openid-configuration", "", nil)
	}},
	{"the metadata, inserted", func(node, _ *world, _, _ string) *answer {
		root := *node
		root.url = strings.TrimSuffix(node.url, "/o/"+node.slug)
		return root.do("GET", "/.well-known/oauth-authorization-server/o/"+node.slug, "", nil)
	}},
	{"a revocation", func(node, _ *world, admin, _ string) *answer { return node.revoke("", admin) }},
}

// The clock stands still, so what a node remembers never is too old by itself.
func TestAClosedOrganizationIsGoneAtOnce(t *testing.T) {
	t.Parallel()
	onBothEngines(t, func(t *testing.T, nodes []*world) {
		nodes[0].clock.freeze()
		for i, f := range firstAsked {
			slug := fmt.Sprintf("acme-%d", i)
			w := nodes[0].tenant(slug)
			admin := w.admin()
			agent := w.agentWithPolicy(admin)
			seen := at(nodes, slug)
			for _, node := range seen {
				node.granted(exchangeBody(w.subject(nil), agent))
				node.refused(exchangeBody(w.subject(claims{"ref": "refs/heads/dev"}), agent), 403, agentidp.CodeBranchNotPermitted)
				node.want(node.do("GET", agentsPath, admin, nil), 200)
				node.want(node.do("GET", "/.well-known/jwks.json", "", nil), 200)
			}
			id := w.org().ID
			before, err := w.app.db.Decisions(t.Context(), id, &agentidp.DecisionFilter{}, "", 100)
			if err != nil {
				t.Fatal(err)
			}
			if _, closed, err := w.app.CloseOrganization(t.Context(), slug); err != nil || !closed {
				t.Fatalf("%v, %v", closed, err)
			}
			for _, node := range slices.Backward(seen) {
				if a := f.ask(node, w, admin, agent); a.Status != 404 || a.str("code") != agentidp.CodeNotFound {
					t.Errorf("%s: %d %s", f.name, a.Status, a.Raw)
				}
				for _, next := range firstAsked {
					if a := next.ask(node, w, admin, agent); a.Status != 404 {
						t.Errorf("%s, then %s: %d %s", f.name, next.name, a.Status, a.Raw)
					}
				}
			}
			after, err := w.app.db.Decisions(t.Context(), id, &agentidp.DecisionFilter{}, "", 100)
			if err != nil || len(after) != len(before) {
				t.Errorf("%s: %d decisions, and %d before it was closed, %v", f.name, len(after), len(before), err)
			}
			if _, _, err := w.app.AdminToken(t.Context(), slug, "", time.Hour); agentidp.AsError(err).Kind != agentidp.NotFound {
				t.Errorf("an admin token of a closed organization: %v", err)
			}
		}
		admin := nodes[0].admin()
		nodes[0].everywhere(nodes, nodes[0].agentWithPolicy(admin), "") // the others go on
	})
}

// The promise of "no window", while clients exchange all the time.
func TestNoGrantBeginsAfterAnOrganizationIsClosed(t *testing.T) {
	t.Parallel()
	onBothEngines(t, func(t *testing.T, nodes []*world) {
		w := nodes[0].tenant("acme")
		r := &exchangeRace{world: w, nodes: at(nodes, "acme"), agent: w.agentWithPolicy(w.admin()), code: agentidp.CodeNotFound, warm: make(chan struct{})}
		r.run(func() {
			if _, closed, err := w.app.CloseOrganization(t.Context(), "acme"); err != nil || !closed {
				t.Errorf("%v, %v", closed, err)
			}
		})
	})
}

// S-044, S-045, S-047, S-048, S-072: RFC 8414 §3.1 puts the issuer's path behind the
// well-known one, OpenID Connect Discovery before it. Each document is in both places.
func TestMetadataOfAnOrganization(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	acme := w.tenant("acme")
	w.tenant("gone")
	if _, _, err := w.app.CloseOrganization(t.Context(), "gone"); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{
		"/o/acme/.well-known/openid-configuration", "/o/acme/.well-known/oauth-authorization-server",
		"/.well-known/openid-configuration/o/acme", "/.well-known/oauth-authorization-server/o/acme",
	} {
		_, document, _ := strings.Cut(path, "/.well-known/")
		document, _, _ = strings.Cut(document, "/")
		want := acme.want(acme.do("GET", "/.well-known/"+document, "", nil), 200)
		if want.str("issuer") != acme.url || want.str("jwks_uri") != acme.url+"/.well-known/jwks.json" {
			t.Errorf("%s", want.Raw)
		}
		a := w.want(w.do("GET", path, "", nil), 200)
		if string(a.Raw) != string(want.Raw) || a.Header.Get("ETag") != want.Header.Get("ETag") ||
			a.Header.Get("Content-Type") != "application/json" || a.Header.Get("Cache-Control") != "public, max-age=300" {
			t.Errorf("%s: %v %s", path, a.Header, a.Raw)
		}
		if a := w.do("HEAD", path, "", nil); a.Status != 200 {
			t.Errorf("HEAD %s: %d", path, a.Status)
		}
		w.want(w.do("POST", path, "", "{}"), 405, agentidp.CodeMethodNotAllowed)
	}
	for _, doc := range []string{"/.well-known/openid-configuration", "/.well-known/oauth-authorization-server"} {
		if root := w.want(w.do("GET", doc, "", nil), 200); root.str("issuer") != w.url {
			t.Errorf("%s: %s", doc, root.Raw)
		}
		for _, path := range []string{
			"/o/default", "/o/nobody", "/o/gone", "/o/", "/o", "/", "/acme", "/o/ACME", "/o/acme/", "/o//acme", "/o/acme/x", "/o/acme/o/acme",
			"/o/%61cme", "/o/acme%2f", "/O/acme", "/o/acme;x", "/o/acme/.well-known/openid-configuration",
		} {
			w.isProblem(w.want(w.do("GET", doc+path, "", nil), 404, agentidp.CodeNotFound))
		}
		acme.want(acme.do("GET", doc+"/o/acme", "", nil), 404, agentidp.CodeNotFound)
	}
	w.want(w.do("GET", "/.well-known/jwks.json/o/acme", "", nil), 404, agentidp.CodeNotFound) // where it is, jwks_uri says
}
