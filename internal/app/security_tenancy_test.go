package app

import (
	"bytes"
	"crypto"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/jose"
	"github.com/sentryagent/agentidp/internal/store"
)

// tenant creates an organization, as the operator does, and returns the same world as seen under its
// prefix.
func (w *world) tenant(slug string) *world {
	w.t.Helper()
	if _, err := w.app.CreateOrganization(w.t.Context(), slug, ""); err != nil {
		w.t.Fatal(err)
	}
	return w.under(slug)
}

// under returns the same world as seen under an organization's prefix.
func (w *world) under(slug string) *world {
	other := *w
	other.slug, other.url = slug, w.url+"/o/"+slug
	return &other
}

// registerProvider writes a provider of kind github into the organization.
func (w *world) registerProvider(p agentidp.Provider) {
	w.t.Helper()
	now := w.clock.Now()
	p.ID, p.OrganizationID, p.Kind, p.Revision, p.CreatedAt = agentidp.NewID(now), w.org().ID, "github", 1, now
	p.MaxTokenAge, p.Replay = time.Hour, agentidp.ReplayReject
	if err := w.app.db.Write(w.t.Context(), func(tx *store.Tx) error { return tx.CreateProvider(w.t.Context(), &p) }); err != nil {
		w.t.Fatal(err)
	}
}

// Who was refused without a record is told to the organization that was asked.
func TestRefusalsStayInTheirOrganization(t *testing.T) {
	t.Parallel()
	a := newWorld(t)
	b := a.tenant("bravo")
	const path = "/api/v1/oidc/refusals"
	refused := a.want(a.exchange(map[string]any{"token": "x.y.z"}), 401, agentidp.CodeInvalidToken).str("request_id")
	a.want(a.do("POST", "/o/nobody"+exchangePath, "", map[string]any{"token": "x.y.z"}), 404, agentidp.CodeNotFound)
	b.want(b.do("GET", path, a.admin(), nil), 401, agentidp.CodeInvalidToken)
	for _, w := range []*world{b, a} {
		got := w.want(w.do("GET", path, w.admin("audit:read"), nil), 200)
		latest, _ := got.Body["latest"].([]any)
		if own := strings.Contains(string(got.Raw), refused); own != (w == a) || len(latest) > 1 || len(w.refusals()) != len(latest) {
			t.Errorf("%s: %s", w.slug, got.Raw)
		}
	}
}

// keyIDs returns the ids in an organization's published key set.
func (w *world) keyIDs() []string {
	w.t.Helper()
	var set struct{ Keys []map[string]string }
	if err := json.Unmarshal(w.want(w.do("GET", "/.well-known/jwks.json", "", nil), 200).Raw, &set); err != nil {
		w.t.Fatal(err)
	}
	var ids []string
	for _, k := range set.Keys {
		ids = append(ids, k["kid"])
	}
	return ids
}

// A-162, between organizations.
func TestKeysOfTwoOrganizations(t *testing.T) {
	t.Parallel()
	a := newWorld(t)
	b := a.tenant("bravo")
	for _, w := range []*world{a, b} {
		var doc struct{ Issuer, JWKSURI string }
		d := w.want(w.do("GET", "/.well-known/openid-configuration", "", nil), 200)
		doc.Issuer, doc.JWKSURI = d.str("issuer"), d.str("jwks_uri")
		if doc.Issuer != w.url || doc.JWKSURI != w.url+"/.well-known/jwks.json" {
			t.Errorf("under %s: %+v", w.url, doc)
		}
	}
	if ka, kb := a.keyIDs(), b.keyIDs(); len(ka) != 1 || len(kb) != 1 || ka[0] == kb[0] {
		t.Fatalf("the key sets are not disjoint: %v, %v", ka, kb)
	}
	for _, pair := range [][2]*world{{a, b}, {b, a}} {
		own, other := pair[0], pair[1]
		admin := own.admin()
		agent := own.register(admin, agentName, "agents:read")
		own.policy(admin, map[string]any{"branch": "main", "agentId": agent, "audiences": []string{own.url + "/api/v1", other.url + "/api/v1"}})
		own.policy(admin, nil)
		foreign := exchangeBody(own.subject(nil), agent)
		foreign["audience"] = other.url + "/api/v1"
		for name, token := range map[string]string{
			"an administrator's": admin,
			"an agent's":         own.granted(exchangeBody(own.subject(nil), agent)).str("access_token"),
			"an agent's, whose policy lists the other's audience": own.granted(foreign).str("access_token"),
			"a bootstrap": own.bootstrap(nil),
		} {
			if got := jwtClaims(t, token)["iss"]; got != own.url {
				t.Errorf("%s token says iss %q, want %q", name, got, own.url)
			}
			for _, r := range [][2]string{{"GET", agentsPath}, {"POST", agentsPath}, {"GET", policiesPath}} {
				x := other.want(other.do(r[0], r[1], token, nil), 401, agentidp.CodeInvalidToken)
				other.isProblem(x)
			}
			other.refused(exchangeBody(token, agent), 401, agentidp.CodeInvalidToken)
		}
	}
}

// Mallory administers an organization. A provider of hers names GitHub's issuer,
// with keys of her own.
func TestAProviderOfOneOrganizationCannotForge(t *testing.T) {
	t.Parallel()
	victim := newWorld(t)
	mallory := victim.tenant("mallory")
	agents := map[*world]string{}
	for _, w := range []*world{victim, mallory} {
		agents[w] = w.agentWithPolicy(w.admin())
	}
	kid, err := jose.Thumbprint(ciKey().Public())
	if err != nil {
		t.Fatal(err)
	}
	for name, keyID := range map[string]string{"evil": "evil", "shadow": kid} {
		issuer := victim.issuer
		if name == "evil" { // an organization has one provider for an issuer
			issuer = "https://evil.example"
		}
		mallory.registerProvider(agentidp.Provider{Name: name, Issuer: issuer, Algorithms: []string{"RS256"}, JWKS: []byte(keySet(jwk(malloryKey().Public(), keyID, nil)))})
		mallory.policy(mallory.admin(), map[string]any{"provider": name, "branch": "main", "agentId": agents[mallory]})
	}
	forge := func(w *world, issuer, kid string) string {
		payload, err := json.Marshal(jwtClaims(t, w.subject(claims{"iss": issuer})))
		if err != nil {
			t.Fatal(err)
		}
		return compact(header("RS256", kid), string(payload), pkcs1(malloryKey(), crypto.SHA256))
	}
	for _, r := range []struct {
		name        string
		at          *world
		issuer, kid string
	}{
		{"for the victim, with GitHub's key id", victim, victim.issuer, kid},
		{"for the victim, with her own key id", victim, victim.issuer, "evil"},
		{"for the victim, with her own issuer", victim, "https://evil.example", "evil"},
		{"for her own organization, as GitHub: the built-in provider stands in front", mallory, victim.issuer, kid},
		{"for her own organization, as GitHub, with her own key id", mallory, victim.issuer, "evil"},
	} {
		x := r.at.refused(exchangeBody(forge(r.at, r.issuer, r.kid), agents[r.at]), 401, agentidp.CodeInvalidToken)
		if x.Body["claims"] != nil || x.str("decision_id") != "" {
			t.Errorf("%s: %s", r.name, x.Raw)
		}
	}
	mallory.granted(exchangeBody(forge(mallory, "https://evil.example", "evil"), agents[mallory])) // what is hers works
	for _, w := range []*world{victim, mallory} {
		w.granted(exchangeBody(w.subject(nil), agents[w]))
	}
}

func TestTwoOrganizationsWithTheSameIssuer(t *testing.T) {
	t.Parallel()
	const issuer = "https://ci.example"
	a := newWorld(t)
	b := a.tenant("bravo")
	keys, agents := map[*world]*jose.Signer{}, map[*world]string{}
	for _, w := range []*world{a, b} {
		private, err := jose.GenerateKey(jose.ES256)
		if err != nil {
			t.Fatal(err)
		}
		if keys[w], err = jose.NewSigner(jose.ES256, private); err != nil {
			t.Fatal(err)
		}
		w.registerProvider(agentidp.Provider{Name: "ci", Issuer: issuer, Algorithms: []string{"ES256"}, Audiences: []string{"urn:shared"},
			JWKS: []byte(keySet(jwk(private.Public(), keys[w].KeyID(), nil)))})
		agents[w] = w.register(w.admin(), agentName)
		w.policy(w.admin(), map[string]any{"provider": "ci", "branch": "main", "agentId": agents[w]})
	}
	sign := func(w, audience *world, c claims) string {
		all := jwtClaims(t, audience.subject(c))
		all["iss"] = issuer
		payload, err := json.Marshal(all)
		if err != nil {
			t.Fatal(err)
		}
		token, err := keys[w].Sign("JWT", payload)
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
	for _, pair := range [][2]*world{{a, b}, {b, a}} {
		own, other := pair[0], pair[1]
		own.granted(exchangeBody(sign(own, own, nil), agents[own]))
		own.refused(exchangeBody(sign(other, own, nil), agents[own]), 401, agentidp.CodeInvalidToken)
		// an authentic token, and meant for the other organization.
		own.refused(exchangeBody(sign(own, other, nil), agents[own]), 401, agentidp.CodeInvalidToken, agentidp.ReasonAudienceMismatch)
		own.refused(exchangeBody(own.subject(claims{"aud": other.url}), agents[own]), 401, agentidp.CodeInvalidToken, agentidp.ReasonAudienceMismatch)
	}
}

func TestUsedTokensAndPinsAreSeparate(t *testing.T) {
	t.Parallel()
	a := newWorld(t)
	b := a.tenant("bravo")
	private, err := jose.GenerateKey(jose.ES256)
	if err != nil {
		t.Fatal(err)
	}
	key, err := jose.NewSigner(jose.ES256, private)
	if err != nil {
		t.Fatal(err)
	}
	agents := map[*world]string{}
	for _, w := range []*world{a, b} {
		w.registerProvider(agentidp.Provider{Name: "ci", Issuer: "https://ci.example", Algorithms: []string{"ES256"}, Audiences: []string{"urn:shared"},
			JWKS: []byte(keySet(jwk(private.Public(), key.KeyID(), nil)))})
		agents[w] = w.register(w.admin(), agentName)
		w.policy(w.admin(), map[string]any{"provider": "ci", "agentId": agents[w]})
		w.policy(w.admin(), map[string]any{"agentId": agents[w]})
	}
	shared := func(c claims) string {
		all := jwtClaims(t, a.subject(c))
		all["iss"], all["aud"] = "https://ci.example", "urn:shared"
		payload, err := json.Marshal(all)
		if err != nil {
			t.Fatal(err)
		}
		token, err := key.Sign("JWT", payload)
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
	token := shared(nil)
	for _, w := range []*world{a, b} { // both trust this issuer and this audience
		w.granted(exchangeBody(token, agents[w]))
	}
	for _, w := range []*world{a, b} {
		w.refused(exchangeBody(token, agents[w]), 401, agentidp.CodeInvalidToken, agentidp.ReasonTokenReplayed)
	}
	one, two := claims{"repository_id": "1001"}, claims{"repository_id": "1002"}
	a.granted(exchangeBody(a.subject(one), agents[a]))
	b.granted(exchangeBody(b.subject(two), agents[b]))
	a.refused(exchangeBody(a.subject(two), agents[a]), 403, agentidp.CodeRepositoryIdentityChanged)
	b.refused(exchangeBody(b.subject(one), agents[b]), 403, agentidp.CodeRepositoryIdentityChanged)
	a.granted(exchangeBody(shared(nil), agents[a])) // nor do two providers of one organization share a pin
}

func TestIDsOfAnotherOrganizationAreUnknown(t *testing.T) {
	t.Parallel()
	a := newWorld(t)
	b := a.tenant("bravo")
	agents, policies, spec := map[*world]string{}, map[*world]string{}, map[string]any{}
	for _, w := range []*world{a, b} { // the same names and the same policy: no clash
		admin := w.admin()
		agents[w] = w.register(admin, agentName)
		spec = map[string]any{"provider": "github", "repository": repository, "branch": "main"}
		w.policy(admin, spec)
		created := w.policy(admin, map[string]any{"branch": "main", "agentId": agents[w]})
		policies[w] = created.str("id")
		if got := created.Header.Get("Location"); got != w.url+policiesPath+"/"+policies[w] {
			t.Errorf("Location is %q", got)
		}
	}
	for _, pair := range [][2]*world{{a, b}, {b, a}} {
		own, other := pair[0], pair[1]
		admin := own.admin()
		for _, r := range []struct {
			method, path string // %: the id
			ids          [2]string
			body         any
			headers      []string
		}{
			{"GET", policiesPath + "/%", [2]string{policies[other], agents[own]}, nil, nil},
			{"PUT", policiesPath + "/%", [2]string{policies[other], agents[own]}, spec, []string{"If-Match", `"1"`}},
			{"DELETE", policiesPath + "/%", [2]string{policies[other], agents[own]}, nil, nil},
			{"DELETE", policiesPath + "/%", [2]string{policies[other], agents[own]}, nil, []string{"If-Match", `"1"`}},
			{"POST", policiesPath + "/%/repin", [2]string{policies[other], agents[own]}, nil, nil},
			{"GET", agentsPath + "/%", [2]string{agents[other], policies[own]}, nil, nil},
			{"PATCH", agentsPath + "/%", [2]string{agents[other], policies[own]}, map[string]any{"description": "x"}, nil},
			{"PATCH", agentsPath + "/%", [2]string{agents[other], policies[own]}, map[string]any{"capabilities": []string{"a:b"}}, []string{"If-Match", `"1"`}},
			{"POST", agentsPath + "/%/suspend", [2]string{agents[other], policies[own]}, nil, nil},
			{"POST", agentsPath + "/%/reactivate", [2]string{agents[other], policies[own]}, nil, nil},
			{"DELETE", agentsPath + "/%", [2]string{agents[other], policies[own]}, nil, nil},
			{"DELETE", agentsPath + "/%", [2]string{agents[other], policies[own]}, nil, []string{"If-Match", `"1"`}},
		} {
			unknown := ""
			for _, id := range []string{agentidp.NewID(time.Now()), "x", r.ids[1], r.ids[0]} {
				x := own.want(own.do(r.method, strings.Replace(r.path, "%", id, 1), admin, r.body, r.headers...), http.StatusNotFound, agentidp.CodeNotFound)
				own.isProblem(x)
				if unknown == "" {
					unknown = neutral(x)
				}
				if neutral(x) != unknown {
					t.Errorf("A-152 %s %s: %s, want %s", r.method, r.path, x.Raw, unknown)
				}
			}
		}
		for path, items := range map[string]int{policiesPath: 2, agentsPath: 1} {
			list, _ := own.want(own.do("GET", path, admin, nil), 200).Body["items"].([]any)
			if len(list) != items {
				t.Errorf("%s lists %d, want its own %d", path, len(list), items)
			}
		}
		// A policy cannot name the other's agent, nor tell that there is one.
		body := map[string]any{"provider": "github", "repository": repository, "agentId": agents[other]}
		x := own.want(own.do("POST", policiesPath, admin, body), 400, agentidp.CodeInvalidRequest)
		body["agentId"] = agentidp.NewID(time.Now())
		if y := own.want(own.do("POST", policiesPath, admin, body), 400, agentidp.CodeInvalidRequest); neutral(x) != neutral(y) {
			t.Errorf("another organization's agent: %s, an unknown one: %s", x.Raw, y.Raw)
		}
	}
	for _, w := range []*world{a, b} { // nothing happened to either
		w.granted(exchangeBody(w.subject(nil), agents[w]))
	}
}

func TestTheRecordOfAnotherOrganizationIsUnknown(t *testing.T) {
	t.Parallel()
	a := newWorld(t)
	b := a.tenant("bravo")
	agents, decisions := map[*world]string{}, map[*world]string{}
	for _, w := range []*world{a, b} {
		agents[w] = w.agentWithPolicy(w.admin())
		decisions[w] = w.granted(exchangeBody(w.subject(nil), agents[w])).str("decision_id")
	}
	for _, pair := range [][2]*world{{a, b}, {b, a}} {
		own, other := pair[0], pair[1]
		audit := own.admin(agentidp.ScopeAuditRead)
		unknown := own.want(own.do("GET", decisionsPath+"/"+agentidp.NewID(time.Now()), audit, nil), 404, agentidp.CodeNotFound)
		foreign := own.want(own.do("GET", decisionsPath+"/"+decisions[other], audit, nil), 404, agentidp.CodeNotFound)
		if neutral(foreign) != neutral(unknown) {
			t.Errorf("A-152 another organization's decision: %s, an unknown one: %s", foreign.Raw, unknown.Raw)
		}
		for _, path := range []string{decisionsPath, eventsPath} {
			for query, mine := range map[string]bool{
				"?limit=200": true, "?agentId=" + agents[own]: true, "?agentId=" + agents[other]: false, "?cursor=" + agentidp.NewID(time.Now().Add(time.Hour)): true,
			} {
				x := own.want(own.do("GET", path+query, audit, nil), 200)
				if bytes.Contains(x.Raw, []byte(decisions[other])) || bytes.Contains(x.Raw, []byte(decisions[own])) != mine {
					t.Errorf("%s%s: %s", path, query, x.Raw)
				}
			}
		}
		other.want(other.do("GET", decisionsPath, audit, nil), 401, agentidp.CodeInvalidToken)
	}
}

// a cursor is a position and gives nothing away, whoever's id it is.
func TestA227ACursorOfAnotherOrganizationListsOwnItems(t *testing.T) {
	t.Parallel()
	a := newWorld(t)
	b := a.tenant("bravo")
	foreign := b.register(b.admin(), agentName)
	admin := a.admin()
	own := a.register(admin, agentName)
	x := a.want(a.do("GET", agentsPath+"?cursor="+foreign, admin, nil), 200)
	if !strings.Contains(string(x.Raw), own) || strings.Contains(string(x.Raw), foreign) {
		t.Errorf("A-227 %s", x.Raw)
	}
	for _, cursor := range []string{"x", "0", "'", strings.ToUpper(own), own + "0", strings.Repeat("9", 64)} {
		x := a.want(a.do("GET", agentsPath+"?cursor="+cursor, admin, nil), 400, agentidp.CodeInvalidRequest)
		a.names(x, "cursor")
	}
}

func TestPrefixes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.tenant("bravo")
	admin := w.admin()
	for _, path := range []string{
		"/o", "/o/", "/o/none" + agentsPath, "/o/default" + agentsPath, "/o/BRAVO" + agentsPath, "/o//bravo" + agentsPath, "/o/bravo/" + agentsPath,
		"/o/bravo/o/bravo" + agentsPath, "/o/bravo%2fapi/v1/agents", "/o/bravo/../bravo" + agentsPath, "/o/bravo", "/o/bravo/", "/api/v1/o/bravo/agents",
	} {
		w.isProblem(w.want(w.do("GET", path, admin, nil), 404, agentidp.CodeNotFound))
	}
}
