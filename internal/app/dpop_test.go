package app

import (
	"maps"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/dpoptest"
)

// dpopChallenge is the scheme beside Bearer.
const dpopChallenge = `DPoP algs="ES256 ES384 RS256 EdDSA Ed25519"`

// path is where a door is.
func (d *door) path() string {
	if d == nil {
		return exchangePath
	}
	return tokenPath
}

// bind sends an exchange with a DPoP proof through a door.
func (w *world) bind(d *door, proof string, body map[string]any) *answer {
	w.t.Helper()
	if d == nil {
		return w.do(http.MethodPost, exchangePath, "", body, "DPoP", proof)
	}
	a := w.do(http.MethodPost, tokenPath, "", d.form(body), "Content-Type", formType, "DPoP", proof)
	a.door = d
	return a
}

// proof makes a fresh proof for a door, by the clock of the server.
func (w *world) proof(d *door, key *dpoptest.Key) string {
	return key.Proof("POST", w.url+d.path(), "", w.clock.Now())
}

// bound sends a request with an access token that is bound to a key, and a proof.
func (w *world) bound(key *dpoptest.Key, token, method, path string, body any, headers ...string) *answer {
	w.t.Helper()
	proof := key.Proof(method, w.url+path, token, w.clock.Now())
	return w.do(method, path, "", body, append([]string{"Authorization", "DPoP " + token, "DPoP", proof}, headers...)...)
}

// S-063, S-069, S-070: the key stands in the token, in its record and in what is said of
// it, whichever door it came through.
func TestATokenIsBoundToAKey(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	agent := w.agentWithPolicy(w.admin())
	key := dpoptest.NewKey()
	for _, d := range allDoors {
		t.Run(d.String(), func(t *testing.T) {
			w := w.in(t)
			a := w.want(w.bind(d, w.proof(d, key), exchangeBody(w.mint(), agent)), 200)
			token := a.str("access_token")
			if a.str("token_type") != "DPoP" {
				t.Errorf("token_type is %q", a.str("token_type"))
			}
			want := map[string]any{"jkt": key.Thumbprint()}
			cnf, _ := jwtClaims(t, token)["cnf"].(map[string]any)
			if !maps.Equal(cnf, want) {
				t.Errorf("cnf is %v, want %v", cnf, want)
			}
			is := w.want(w.introspect("", token), 200)
			cnf, _ = is.Body["cnf"].(map[string]any)
			if is.Body["active"] != true || is.str("token_type") != "DPoP" || !maps.Equal(cnf, want) {
				t.Errorf("introspection says %s", is.Raw)
			}
			// Without a proof it is as it always was.
			a = w.want(w.enter(d, exchangeBody(w.mint(), agent)), 200)
			if is := w.introspect("", a.str("access_token")); a.str("token_type") != "Bearer" || is.str("token_type") != "Bearer" || is.Body["cnf"] != nil {
				t.Errorf("a bearer token: %s", is.Raw)
			}
		})
	}
}

// A-240, S-068: at the doors a proof that is not good is a bad request. It uses nothing
// up, and nothing was proven: there is no record of it.
func TestSecurityA240ProofsAtTheDoors(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	agent := w.agentWithPolicy(w.admin())
	key := dpoptest.NewKey()
	for _, d := range allDoors {
		here := w.url + d.path()
		changed := func(change func(header, claims map[string]any)) string {
			header, claims := key.Header(), dpoptest.Claims("POST", here, "", w.clock.Now())
			change(header, claims)
			return key.Sign(header, claims)
		}
		for name, proof := range map[string]string{
			"not a proof":             "x",
			"a subject token":         w.mint(),
			"htm of another method":   changed(func(_, c map[string]any) { c["htm"] = "GET" }),
			"htu of another endpoint": changed(func(_, c map[string]any) { c["htu"] = w.url + "/oauth2/introspect" }),
			"htu of an organization":  changed(func(_, c map[string]any) { c["htu"] = strings.Replace(here, w.url, w.url+"/o/acme", 1) }),
			"iat an hour ago":         changed(func(_, c map[string]any) { c["iat"] = w.clock.Now().Add(-time.Hour).Unix() }),
			"alg none":                changed(func(h, _ map[string]any) { h["alg"] = "none" }),
			"alg HS256":               changed(func(h, _ map[string]any) { h["alg"] = "HS256" }),
			"a private key":           changed(func(h, _ map[string]any) { h["jwk"].(map[string]any)["d"] = "AAAA" }),
			"no jti":                  changed(func(_, c map[string]any) { delete(c, "jti") }),
		} {
			t.Run(d.String()+", "+name, func(t *testing.T) {
				w := w.in(t)
				subject := w.mint()
				a := w.bind(d, proof, exchangeBody(subject, agent))
				if w.want(a, 400, agentidp.CodeInvalidDPoPProof); a.str("decision_id") != "" || a.Header.Get("WWW-Authenticate") != "" {
					t.Errorf("%v %s", a.Header, a.Raw)
				}
				if d != nil && a.str("error") != "invalid_dpop_proof" {
					t.Errorf("the error is %q", a.str("error"))
				}
				w.want(w.enter(d, exchangeBody(subject, agent)), 200)
			})
		}
	}
}

// a proof is good for one request, whoever sends it, at whichever door; and to
// whoever proves nothing it costs the server no write.
func TestSecurityA240AProofIsGoodForOneRequest(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	agent := w.agentWithPolicy(w.admin())
	key := dpoptest.NewKey()
	proof := w.proof(stsDoor, key)
	for range 2 { // nobody's token proves nothing
		w.wantAs(w.bind(stsDoor, proof, exchangeBody(w.mint()+"A", agent)), 401, agentidp.CodeInvalidToken)
	}
	w.want(w.bind(stsDoor, proof, exchangeBody(w.mint(), agent)), 200)
	for _, d := range oauthDoors {
		subject := w.mint()
		a := w.want(w.bind(d, proof, exchangeBody(subject, agent)), 400, agentidp.CodeInvalidDPoPProof)
		if got := w.decision(a.str("decision_id")); got.Outcome != agentidp.OutcomeDenied || got.Code != agentidp.CodeInvalidDPoPProof {
			t.Errorf("recorded as %+v", got)
		}
		w.want(w.bind(d, w.proof(d, key), exchangeBody(subject, agent)), 200)
	}
	// A denied exchange uses up the proof, and the subject token not.
	subject, proof := w.mint(claims{"ref": "refs/heads/other"}), w.proof(nil, key)
	w.want(w.bind(nil, proof, exchangeBody(subject, agent)), 403, agentidp.CodeBranchNotPermitted)
	w.want(w.bind(nil, proof, exchangeBody(subject, agent)), 400, agentidp.CodeInvalidDPoPProof)
}

// A-240, S-070: our own API takes a bound token with a proof by its key, for this method,
// this URL and this token, once; and by the scheme DPoP alone.
func TestSecurityA240ABoundTokenAtOurAPI(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	admin := w.admin()
	agent := w.register(admin, agentName, agentidp.ScopeAgentsRead)
	w.policy(admin, map[string]any{"agentId": agent, "audiences": []string{w.url + "/api/v1"}})
	key, other := dpoptest.NewKey(), dpoptest.NewKey()
	token := w.want(w.bind(nil, w.proof(nil, key), exchangeBody(w.mint(), agent)), 200).str("access_token")
	second := w.want(w.bind(nil, w.proof(nil, key), exchangeBody(w.mint(), agent)), 200).str("access_token")
	bearer := w.want(w.exchange(exchangeBody(w.mint(), agent)), 200).str("access_token")
	path, here := agentsPath, w.url+agentsPath
	now := w.clock.Now
	used := key.Proof("GET", here, token, now())
	w.want(w.do("GET", path, "", nil, "Authorization", "DPoP "+token, "DPoP", used), 200)
	w.want(w.do("GET", path+"?limit=1", "", nil, "Authorization", "dpop "+token, "DPoP", key.Proof("GET", here, token, now())), 200)
	w.want(w.do("GET", path, bearer, nil), 200)
	w.want(w.do("GET", path, bearer, nil, "DPoP", "nobody reads it"), 200)

	const invalidToken, invalidProof = agentidp.CodeInvalidToken, agentidp.CodeInvalidDPoPProof
	for _, test := range []struct {
		name, authorization, proof, code, scheme string
	}{
		{"as a bearer token", "Bearer " + token, "", invalidToken, "DPoP"},
		{"as a bearer token, with a proof", "Bearer " + token, key.Proof("GET", here, token, now()), invalidToken, "DPoP"},
		{"without a proof", "DPoP " + token, "", invalidProof, "DPoP"},
		{"a proof that was used", "DPoP " + token, used, invalidProof, "DPoP"},
		{"a proof by another key", "DPoP " + token, other.Proof("GET", here, token, now()), invalidToken, "DPoP"},
		{"a proof for another method", "DPoP " + token, key.Proof("POST", here, token, now()), invalidProof, "DPoP"},
		{"a proof for another path", "DPoP " + token, key.Proof("GET", here+"/x", token, now()), invalidProof, "DPoP"},
		{"a proof for another of its tokens", "DPoP " + token, key.Proof("GET", here, second, now()), invalidProof, "DPoP"},
		{"a proof without ath", "DPoP " + token, key.Proof("GET", here, "", now()), invalidProof, "DPoP"},
		{"a proof of an hour ago", "DPoP " + token, key.Proof("GET", here, token, now().Add(-time.Hour)), invalidProof, "DPoP"},
		{"a bearer token by the scheme DPoP", "DPoP " + bearer, key.Proof("GET", here, bearer, now()), invalidToken, "DPoP"},
		{"no token", "DPoP ", key.Proof("GET", here, "", now()), invalidToken, "Bearer"},
		{"another scheme", "Token " + token, "", invalidToken, "Bearer"},
		{"nothing", "", key.Proof("GET", here, token, now()), agentidp.CodeAuthenticationRequired, "Bearer"},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := w.in(t)
			var headers []string
			for name, value := range map[string]string{"Authorization": test.authorization, "DPoP": test.proof} {
				if value != "" {
					headers = append(headers, name, value)
				}
			}
			a := w.want(w.do("GET", path, "", nil, headers...), 401, test.code)
			w.isProblem(a)
			error := " error=\"" + test.code + `"`
			if test.code == agentidp.CodeAuthenticationRequired {
				error = ""
			}
			challenges := a.Header.Values("WWW-Authenticate")
			if len(challenges) != 2 || !strings.HasPrefix(challenges[0], test.scheme+error) || !strings.Contains(strings.Join(challenges, ", "), `algs="ES256 `) {
				t.Errorf("challenges: %q", challenges)
			}
		})
	}
	a := w.want(w.bound(key, token, "POST", path, map[string]any{"name": "x@ci.acme.example"}), 403, agentidp.CodeInsufficientScope)
	if got := a.Header.Get("WWW-Authenticate"); !strings.HasPrefix(got, `DPoP error="insufficient_scope", scope="agents:write"`) {
		t.Errorf("challenge %q", got)
	}
}
