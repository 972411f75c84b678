package app

import (
	"crypto"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/config"
	"github.com/sentryagent/agentidp/internal/credential"
	"github.com/sentryagent/agentidp/internal/jose"
	"github.com/sentryagent/agentidp/internal/printed"
	"github.com/sentryagent/agentidp/internal/store"
)

// clientMethods are the ways in which a client proves that it is itself.
var clientMethods = []string{"client_secret_basic", "client_secret_post", "private_key_jwt"}

// askingClient is an agent with a secret and a key.
type askingClient struct {
	*world
	id, secret, credential string
	signer                 *jose.Signer
}

// asking gives an agent its credentials.
func (w *world) asking(agent string) *askingClient {
	w.t.Helper()
	key, err := jose.GenerateKey(jose.ES256)
	if err != nil {
		w.t.Fatal(err)
	}
	return w.askingWith(agent, jose.ES256, key)
}

// askingWith is asking with a key that was made before.
func (w *world) askingWith(agent, alg string, key crypto.Signer) *askingClient {
	w.t.Helper()
	signer, err := jose.NewSigner(alg, key)
	if err != nil {
		w.t.Fatal(err)
	}
	jwk, err := signer.Public().JWK()
	if err != nil {
		w.t.Fatal(err)
	}
	c := &askingClient{world: w, id: agent, credential: agentidp.NewID(w.clock.Now()), signer: signer}
	var hash string
	c.secret, hash = credential.NewSecret(c.credential)
	printed.Secret(w.t, c.secret)
	has := agentidp.Credential{OrganizationID: w.org().ID, AgentID: agent, CreatedBy: "admin:test", CreatedAt: w.clock.Now(), Revision: 1}
	bySecret, byKey := has, has
	bySecret.CredentialID, bySecret.Type, bySecret.SecretHash = c.credential, agentidp.CredentialSecret, hash
	byKey.CredentialID, byKey.Type, byKey.JWKS = agentidp.NewID(w.clock.Now()), agentidp.CredentialPublicKey, json.RawMessage(`{"keys":[`+string(jwk)+`]}`)
	err = w.app.db.Write(w.t.Context(), func(tx *store.Tx) error {
		if err := tx.CreateCredential(w.t.Context(), &bySecret); err != nil {
			return err
		}
		return tx.CreateCredential(w.t.Context(), &byKey)
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return c
}

// agentThat registers an agent with capabilities, and its credentials.
func (w *world) agentThat(admin, name string, capabilities ...string) *askingClient {
	w.t.Helper()
	return w.asking(w.register(admin, name+"@ci.acme.example", capabilities...))
}

// assertion signs one, of now and for this server.
func (c *askingClient) assertion() string {
	c.t.Helper()
	claims := mustJSON(c.t, map[string]any{"iss": c.id, "sub": c.id, "aud": c.url, "exp": c.clock.Now().Add(time.Minute).Unix(), "jti": agentidp.NewID(c.clock.Now())})
	signed, err := c.signer.Sign("client-authentication+jwt", claims)
	if err != nil {
		c.t.Fatal(err)
	}
	return signed
}

// proves adds to a form, or returns as headers, what authenticates the client.
func (c *askingClient) proves(method string, form url.Values) []string {
	switch method {
	case "client_secret_basic":
		pair := url.QueryEscape(c.id) + ":" + url.QueryEscape(c.secret)
		return []string{"Authorization", "Basic " + base64.StdEncoding.EncodeToString([]byte(pair))}
	case "client_secret_post":
		form.Set("client_id", c.id)
		form.Set("client_secret", c.secret)
	case "private_key_jwt":
		form.Set("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer")
		form.Set("client_assertion", c.assertion())
	}
	return nil
}

// asks sends a token to an endpoint, with the client's authentication beside it.
func (c *askingClient) asks(path, method, token string) *answer {
	c.t.Helper()
	form := url.Values{"token": {token}, "grant_type": {agentidp.GrantClientCredentials}} // each endpoint ignores the other's
	headers := append([]string{"Content-Type", formType}, c.proves(method, form)...)
	return c.do("POST", path, "", form.Encode(), headers...)
}

// A-145, S-036, S-038: a resource server is an agent that may read tokens; any other
// client is told of its own, and of all else that there is nothing.
func TestWhatAClientMayIntrospect(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	admin := w.admin()
	w.policy(admin, nil)
	reader, root := w.agentThat(admin, "reader", "tokens:read"), w.agentThat(admin, "root", "admin")
	own, other := w.agentThat(admin, "own", "deploy:staging", "tokens:revoke"), w.agentThat(admin, "other", "deploy:staging")
	w.policy(admin, map[string]any{"agentId": own.id, "audiences": []string{"https://deploy.example"}})
	tokens := map[string]string{
		"for a service":      w.granted(exchangeBody(w.subject(nil), own.id)).str("access_token"),
		"a bootstrap token":  w.bootstrap(nil),
		"an administrator's": w.admin("agents:read"),
	}
	every := []string{"for a service", "a bootstrap token", "an administrator's"}
	for _, r := range []struct {
		name string
		by   *askingClient
		of   []string // tokens that it is told of
	}{
		{"a resource server: whatever the audience", reader, every},
		{"an agent that is admin", root, every},
		{"the token's own client", own, []string{"for a service"}},
		{"another client", other, nil},
	} {
		for _, method := range clientMethods {
			for name, token := range tokens {
				a := r.by.asks(introspectionPath, method, token)
				if slices.Contains(r.of, name) {
					w.active(r.name+", "+method+": "+name, a, token)
				} else {
					w.inactive(r.name+", "+method+": "+name, a)
				}
			}
			w.inactive("garbage, "+r.name, r.by.asks(introspectionPath, method, "changeme"))
			w.inactive("a secret, "+r.name, r.by.asks(introspectionPath, method, own.secret))
		}
	}
}

// S-034: what a client may revoke. What is another's is refused, and said to be
// (RFC 7009 §2.1).
func TestWhatAClientMayRevoke(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	admin := w.admin()
	revoker, own, other := w.agentThat(admin, "revoker", "tokens:revoke"), w.agentThat(admin, "own", "deploy:staging"), w.agentThat(admin, "other", "tokens:read")
	w.policy(admin, map[string]any{"agentId": own.id})
	issue := map[string]func() string{
		"own's":           func() string { return w.granted(exchangeBody(w.subject(nil), own.id)).str("access_token") },
		"administrator's": func() string { return w.admin("agents:read") },
	}
	for _, r := range []struct {
		name string
		by   *askingClient
		of   string
		byID bool
		ends bool
	}{
		{"the token's own client", own, "own's", false, true},
		{"its own, by the id", own, "own's", true, false},
		{"another client", other, "own's", false, false},
		{"another client, by the id", other, "own's", true, false},
		{"an administrator's", own, "administrator's", false, false},
		{"tokens:revoke", revoker, "own's", false, true},
		{"tokens:revoke, by the id", revoker, "own's", true, true},
		{"tokens:revoke, an administrator's", revoker, "administrator's", false, true},
	} {
		for _, method := range clientMethods {
			victim := issue[r.of]()
			given := victim
			if r.byID {
				given = w.jti(victim)
			}
			a := r.by.asks(revocationPath, method, given)
			if r.ends {
				w.ended(a)
			} else {
				w.wantOAuth(a, 400, "unauthorized_client", agentidp.CodeUnauthorizedClient)
				w.shows(a, given)
			}
			if w.revoked(victim) != r.ends {
				t.Errorf("%s, %s: revoked is %v", r.name, method, !r.ends)
			}
		}
		w.ended(r.by.asks(revocationPath, "client_secret_post", "changeme")) // RFC 7009 §2.2
	}
	// Nobody learns which ids there are.
	known, unknown := w.jti(w.admin()), agentidp.NewID(time.Now())
	a, b := other.asks(revocationPath, "client_secret_post", known), other.asks(revocationPath, "client_secret_post", unknown)
	if nameless(string(a.Raw)) != nameless(string(b.Raw)) || a.Status != b.Status {
		t.Errorf("a known id: %s, an unknown one: %s", a.Raw, b.Raw)
	}
}

// A leaked client secret does not end here, and whoever tries must not believe so,
// whether there is such a secret or not (RFC 7009 §2.2.1).
func TestAClientSecretIsNoTokenToRevoke(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	admin := w.admin()
	client := w.agentThat(admin, "client", "tokens:revoke")
	w.policy(admin, map[string]any{"agentId": client.id, "scopes": []string{"tokens:revoke"}})
	held := w.granted(exchangeBody(w.subject(nil), client.id)).str("access_token")
	unknown, _ := credential.NewSecret(agentidp.NewID(time.Now()))
	for _, secret := range []string{client.secret, unknown} {
		for _, a := range []*answer{w.revoke("", secret), w.revoke(admin, secret), client.asks(revocationPath, "private_key_jwt", secret)} {
			w.wantOAuth(a, 400, "unsupported_token_type", agentidp.CodeUnsupportedTokenType)
			if strings.Contains(string(a.Raw), secret[20:]) {
				t.Error("the answer repeats the secret")
			}
		}
		w.inactive("a secret", w.introspect("", secret))
	}
	w.active("it is as good as before", client.asks(introspectionPath, "client_secret_basic", held), held)
	w.ended(w.revoke("", client.secret+"x")) // of another form: anything
}

// S-024, S-028, S-031: whoever authenticates wrongly is refused, whatever the token is
// worth, and nothing ends.
func TestWrongClientAuthentication(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	admin := w.admin()
	client, other := w.agentThat(admin, "client", "tokens:read", "tokens:revoke"), w.agentThat(admin, "other", "tokens:read", "tokens:revoke")
	suspended := w.agentThat(admin, "suspended", "tokens:read", "tokens:revoke")
	w.want(w.do("POST", agentsPath+"/"+suspended.id+"/suspend", admin, nil), 200)
	acme := w.tenant("acme")
	foreign := acme.agentThat(acme.admin(), "foreign", "tokens:read", "tokens:revoke")
	wrong := *client
	wrong.secret = other.secret
	unknown := *client
	unknown.id = agentidp.NewID(time.Now())
	mistyped := *client
	mistyped.secret = client.secret[:len(client.secret)-1] + "-"
	anothersKey := *client
	anothersKey.signer = other.signer
	anothersAudience := *client
	there := *w
	there.url = acme.url
	anothersAudience.world = &there
	secrets, assertions := clientMethods[:2], clientMethods[2:]
	for _, r := range []struct {
		name    string
		by      askingClient
		methods []string
	}{
		{"another client's secret", wrong, secrets},
		{"an unknown client", unknown, clientMethods},
		{"a secret that was not copied whole", mistyped, secrets},
		{"another client's key", anothersKey, assertions},
		{"an assertion for another organization", anothersAudience, assertions},
		{"a suspended agent", *suspended, clientMethods},
		{"another organization's client", *foreign, clientMethods},
	} {
		for _, method := range r.methods {
			form := url.Values{"token": {admin}}
			headers := append([]string{"Content-Type", formType}, r.by.proves(method, form)...)
			challenge := `Basic realm="token endpoint", charset="UTF-8"`
			for _, path := range []string{introspectionPath, revocationPath} {
				a := w.do("POST", path, "", form.Encode(), headers...)
				w.wantOAuth(a, 401, "invalid_client", agentidp.CodeInvalidClient)
				if got := a.Header.Get("WWW-Authenticate"); got != challenge {
					t.Errorf("%s, %s: challenge %q, want %q", r.name, method, got, challenge)
				}
				w.shows(a, admin)
			}
		}
	}
	once := client.assertion()
	twice := url.Values{"token": {admin}, "client_assertion": {once}, "client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"}}
	w.active("an assertion", w.do("POST", introspectionPath, "", twice.Encode(), "Content-Type", formType), admin)
	for _, path := range []string{introspectionPath, revocationPath} {
		w.wantOAuth(w.do("POST", path, "", twice.Encode(), "Content-Type", formType), 401, "invalid_client", agentidp.CodeInvalidClient)
	}
	if w.revoked(admin) {
		t.Error("a token was revoked by whoever is nobody")
	}
}

// S-024: two ways of authentication in one request are refused, and a client_id alone
// is none: the token itself is the proof.
func TestOneWayOfAuthentication(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	admin := w.admin()
	client := w.agentThat(admin, "client", "tokens:read")
	victim := w.admin()
	for i, first := range clientMethods {
		for _, second := range append(clientMethods[i+1:], "Bearer", "DPoP") {
			form := url.Values{"token": {victim}}
			headers := append([]string{"Content-Type", formType}, client.proves(first, form)...)
			if headers = append(headers, client.proves(second, form)...); second == "Bearer" || second == "DPoP" {
				if first == "client_secret_basic" {
					continue // one header: the later would take the place of the earlier
				}
				headers = append(headers, "Authorization", second+" "+admin)
			}
			for _, path := range []string{introspectionPath, revocationPath} {
				w.wantOAuth(w.do("POST", path, "", form.Encode(), headers...), 400, "invalid_request", agentidp.CodeInvalidRequest)
			}
		}
	}
	if w.revoked(victim) {
		t.Error("the token was revoked")
	}
	for _, id := range []string{client.id, "x"} {
		form := url.Values{"token": {victim}, "client_id": {id}}
		w.active("client_id alone", w.do("POST", introspectionPath, "", form.Encode(), "Content-Type", formType), victim)
	}
}

// S-031, S-085, S-089: a client's requests are counted when it has proven who it is, by
// organization and id, over all endpoints and all its credentials; nobody else uses
// them up.
func TestRequestsOfAClientAreLimited(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *config.Config) { c.ClientRequestsPerMinute = 3 })
	w.clock.freeze()
	admin := w.admin()
	client, other := w.agentThat(admin, "client", "tokens:read"), w.agentThat(admin, "other", "tokens:read")
	wrong := *client
	wrong.secret = other.secret
	once := url.Values{"token": {admin}, "client_assertion": {client.assertion()}, "client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"}}
	replayed := func() *answer { return w.do("POST", introspectionPath, "", once.Encode(), "Content-Type", formType) }
	w.active("first", replayed(), admin)
	for range 5 { // whoever is not proven to be the client
		w.wantOAuth(wrong.asks(introspectionPath, "client_secret_post", admin), 401, "invalid_client", agentidp.CodeInvalidClient)
		w.wantOAuth(replayed(), 401, "invalid_client", agentidp.CodeInvalidClient)
	}
	a := client.asks(introspectionPath, "client_secret_basic", admin)
	w.active("second", a, admin)
	if got := a.Header.Get("RateLimit-Policy") + " " + a.Header.Get("RateLimit"); got != `"requests-of-client";q=3;w=60 "requests-of-client";r=1;t=40` {
		t.Errorf("the second: %s", got)
	}
	w.want(client.asks(tokenPath, "private_key_jwt", ""), 200)
	for _, method := range clientMethods {
		for _, path := range []string{introspectionPath, revocationPath, tokenPath} {
			a = client.asks(path, method, admin)
			w.wantOAuth(a, 429, "temporarily_unavailable", agentidp.CodeRateLimited)
			if a.Header.Get("Retry-After") != "20" || a.Header.Get("RateLimit") != `"requests-of-client";r=0;t=20` {
				t.Errorf("%s: %v", method, a.Header)
			}
		}
	}
	w.active("another client", other.asks(introspectionPath, "client_secret_basic", admin), admin)
	w.active("whoever has the token", w.introspect("", admin), admin)
	w.clock.advance(20 * time.Second)
	w.active("as late as it was told", client.asks(introspectionPath, "private_key_jwt", admin), admin)
}

// What counts against the uses of an access token says how many are left, wherever it
// authenticates a request, and whatever the answer.
func TestUsesOfATokenAreToldWhereverTheyCount(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *config.Config) { c.TokenRequestsPerMinute = 6 })
	w.clock.freeze()
	reader, victim := w.admin("agents:read", "tokens:read"), w.admin("agents:read")
	left := 6
	for _, r := range []struct {
		name   string
		send   func() *answer
		status int
		counts bool
	}{
		{"the management API", func() *answer { return w.do("GET", agentsPath, reader, nil) }, 200, true},
		{"introspection of another's", func() *answer { return w.introspect(reader, victim) }, 200, true},
		{"introspection of itself", func() *answer { return w.introspect(reader, reader) }, 200, true},
		{"introspection of garbage", func() *answer { return w.introspect(reader, "changeme") }, 200, true},
		{"revocation that is refused", func() *answer { return w.revoke(reader, victim) }, 403, true},
		{"revocation of garbage", func() *answer { return w.revoke(reader, "changeme") }, 200, true},
		{"introspection by nobody", func() *answer { return w.introspect("", reader) }, 200, false},
		{"revocation of itself", func() *answer { return w.revoke(victim, victim) }, 200, false},
	} {
		want := " "
		if r.counts {
			left--
			want = fmt.Sprintf(`"requests-with-token";q=6;w=60 "requests-with-token";r=%d;t=%d`, left, 10*(6-left))
		}
		a := r.send()
		if got := a.Header.Get("RateLimit-Policy") + " " + a.Header.Get("RateLimit"); a.Status != r.status || got != want {
			t.Errorf("%s: %d %s, want %d %s", r.name, a.Status, got, r.status, want)
		}
	}
	w.want(w.introspect(reader, victim), 429, agentidp.CodeRateLimited)
}

// A-210, S-031: whoever tries secrets of clients is stopped before they are looked at,
// good ones too, and nobody else is.
func TestA210WrongSecretsFromOneAddress(t *testing.T) {
	t.Parallel()
	w := newWorld(t, usualLimits(t))
	w.clock.freeze()
	client := w.agentThat(w.admin(), "client", "deploy:staging")
	from := func(address, secret string) *httptest.ResponseRecorder {
		form := url.Values{"grant_type": {agentidp.GrantClientCredentials}, "client_id": {client.id}, "client_secret": {secret}, "token": {"x"}}
		paths := []string{tokenPath, introspectionPath, revocationPath} // each gets a third of them
		r := httptest.NewRequestWithContext(t.Context(), "POST", paths[len(secret)%3], strings.NewReader(form.Encode()))
		r.RemoteAddr = address + ":4711"
		r.Header.Set("Content-Type", formType)
		a := httptest.NewRecorder()
		w.app.http.Handler.ServeHTTP(a, r)
		return a
	}
	tried := 0
	for ; tried < 1000; tried++ {
		wrong, _ := credential.NewSecret(client.credential) // of the form of its own
		if a := from("198.51.100.1", wrong+strings.Repeat("x", tried%3)); a.Code != 401 {
			if a.Code != 429 {
				t.Fatalf("%d: %s", a.Code, a.Body)
			}
			break
		}
	}
	if tried != 300 {
		t.Errorf("%d were looked at, want 300", tried)
	}
	good := from("198.51.100.1", client.secret)
	if good.Code != 429 {
		t.Errorf("a good secret from that address: %d", good.Code)
	}
	if a := from("198.51.100.2", client.secret); a.Code != 200 {
		t.Errorf("a good secret from another address: %d %s", a.Code, a.Body)
	}
	w.clock.advance(w.again(good))
	if a := from("198.51.100.1", client.secret); a.Code != 200 {
		t.Errorf("as late as it was told: %d %s", a.Code, a.Body)
	}
}
