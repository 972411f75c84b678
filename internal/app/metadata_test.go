package app

import (
	"fmt"
	"maps"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/jose"
)

// advertised is the metadata of an organization, as a client reads it.
type advertised struct {
	*world
	document map[string]any
	client   *askingClient // an agent that may have everything, with its credentials
	ci       string        // an agent that the usual run gets tokens for
}

// advertises reads one of the two documents.
func (w *world) advertises(document string) map[string]any {
	w.t.Helper()
	return w.want(w.do("GET", "/.well-known/"+document, "", nil), 200).Body
}

// list returns a member that is a list of strings.
func (m *advertised) list(member string) []string {
	m.t.Helper()
	values, ok := m.document[member].([]any)
	if !ok {
		m.t.Fatalf("%s is %v, want a list", member, m.document[member])
	}
	all := make([]string, len(values))
	for i, v := range values {
		all[i] = fmt.Sprint(v)
	}
	return all
}

// at returns the path of a member that is an address of this organization.
func (m *advertised) at(member string) string {
	m.t.Helper()
	path, ok := strings.CutPrefix(fmt.Sprint(m.document[member]), m.url)
	if !ok {
		m.t.Fatalf("%s is %v, not below %s", member, m.document[member], m.url)
	}
	return path
}

// TestMetadataIsWhatIsServed (S-046, S-067) walks both ways, for each organization: what
// its metadata names is there and does it, and what is there is named.
func TestMetadataIsWhatIsServed(t *testing.T) {
	t.Parallel()
	root := newWorld(t)
	for _, w := range []*world{root, root.tenant("acme")} {
		admin := w.admin()
		m := &advertised{world: w, document: w.advertises("oauth-authorization-server"), client: w.agentThat(admin, "client", "tokens:read", "deploy:staging")}
		m.ci = w.agentWithPolicy(admin)
		t.Run(w.slug, func(t *testing.T) {
			m.world = w.in(t)
			m.isWhole()
			m.addresses()
			m.grants()
			m.methods(admin)
			m.algorithms(admin)
			m.proofs(admin)
			m.scopes()
		})
	}
}

// isWhole asserts that the documents have the members that are told here, and that they
// differ in what OpenID Connect Discovery demands alone.
func (m *advertised) isWhole() {
	m.t.Helper()
	want := []string{
		"agentidp_exchange_endpoint", "dpop_signing_alg_values_supported", "grant_types_supported", "introspection_endpoint", "introspection_endpoint_auth_methods_supported",
		"introspection_endpoint_auth_signing_alg_values_supported", "issuer", "jwks_uri", "protected_resources", "response_types_supported", "revocation_endpoint",
		"revocation_endpoint_auth_methods_supported", "revocation_endpoint_auth_signing_alg_values_supported", "scopes_supported", "service_documentation",
		"token_endpoint", "token_endpoint_auth_methods_supported", "token_endpoint_auth_signing_alg_values_supported",
	}
	if got := slices.Sorted(maps.Keys(m.document)); !slices.Equal(got, want) {
		m.t.Errorf("the members are %v, want %v", got, want)
	}
	openID := m.advertises("openid-configuration")
	signed, err := jose.Parse(m.admin())
	if err != nil {
		m.t.Fatal(err)
	}
	if alg := signed.Header.Alg; fmt.Sprint(openID["id_token_signing_alg_values_supported"]) != "["+alg+"]" {
		m.t.Errorf("tokens are signed with %s, and libraries are told %v", alg, openID["id_token_signing_alg_values_supported"])
	}
	if fmt.Sprint(openID["subject_types_supported"]) != "[public]" {
		m.t.Errorf("subject_types_supported is %v", openID["subject_types_supported"])
	}
	delete(openID, "id_token_signing_alg_values_supported")
	delete(openID, "subject_types_supported")
	if !reflect.DeepEqual(openID, m.document) {
		m.t.Errorf("OpenID's document says %v, RFC 8414's %v", openID, m.document)
	}
	if m.document["issuer"] != m.url {
		m.t.Errorf("the issuer is %v", m.document["issuer"])
	}
}

// addresses asserts that every address is served, and every route of the protocol named.
func (m *advertised) addresses() {
	m.t.Helper()
	named := map[string]bool{}
	for member := range m.document {
		switch {
		case strings.HasSuffix(member, "_endpoint"):
			path := m.at(member)
			named["POST "+path] = true
			if a := m.do("POST", path, "", nil); a.Status == 404 || a.Status == 405 {
				m.t.Errorf("%s: POST %s is %d", member, path, a.Status)
			}
			if a := m.do("GET", path, "", nil); a.Status != 405 || a.Header.Get("Allow") != "POST" {
				m.t.Errorf("%s: GET %s is %d, Allow %q", member, path, a.Status, a.Header.Get("Allow"))
			}
		case member == "jwks_uri" || member == "service_documentation":
			m.want(m.do("GET", m.at(member), "", nil), 200)
		}
	}
	for _, pattern := range m.app.routes.patterns {
		if _, path, _ := strings.Cut(pattern, " "); strings.HasPrefix(path, "/oauth2/") && !named[pattern] {
			m.t.Errorf("%s is served, and no metadata names it", pattern)
		}
	}
	for _, resource := range m.list("protected_resources") {
		described := m.want(m.do("GET", "/.well-known/oauth-protected-resource", "", nil), 200)
		if described.str("resource") != resource || fmt.Sprint(described.Body["authorization_servers"]) != "["+m.url+"]" {
			m.t.Errorf("%s is described by %s", resource, described.Raw)
		}
	}
	if types := m.list("response_types_supported"); len(types) != 0 { // there is no authorization endpoint
		m.t.Errorf("response_types_supported is %v", types)
	}
}

// grants asserts that each grant that is named gives a token, and that no other does.
func (m *advertised) grants() {
	m.t.Helper()
	own := func() string {
		form := url.Values{"grant_type": {agentidp.GrantClientCredentials}}
		return m.granted2xx(form, m.client.proves("client_secret_basic", form)).str("access_token")
	}
	how := map[string][]func(form url.Values) (headers []string){
		agentidp.GrantClientCredentials: {func(form url.Values) []string { return m.client.proves("client_secret_basic", form) }},
		agentidp.GrantJWTBearer: {func(form url.Values) []string {
			form.Set("assertion", m.subject(nil))
			form.Set("agent_id", m.ci)
			return nil
		}},
		agentidp.GrantTokenExchange: {
			func(form url.Values) []string {
				form.Set("subject_token", m.subject(nil))
				form.Set("subject_token_type", "urn:ietf:params:oauth:token-type:jwt")
				form.Set("agent_id", m.ci)
				return nil
			},
			func(form url.Values) []string {
				form.Set("subject_token", own())
				form.Set("subject_token_type", "urn:ietf:params:oauth:token-type:access_token")
				return nil
			},
		},
	}
	named := m.list("grant_types_supported")
	if known := slices.Sorted(maps.Keys(how)); !slices.Equal(slices.Sorted(slices.Values(named)), known) {
		m.t.Errorf("grant_types_supported is %v; this test knows %v", named, known)
	}
	for _, grant := range named {
		for _, ask := range how[grant] {
			form := url.Values{"grant_type": {grant}}
			m.granted2xx(form, ask(form))
		}
	}
	for _, grant := range []string{
		"password", "authorization_code", "refresh_token", "implicit", "urn:ietf:params:oauth:grant-type:device_code", "urn:ietf:params:oauth:grant-type:saml2-bearer",
		"urn:openid:params:grant-type:ciba", "CLIENT_CREDENTIALS",
	} {
		form := url.Values{"grant_type": {grant}, "scope": {"deploy:staging"}}
		a := m.do("POST", m.at("token_endpoint"), "", form.Encode(), append([]string{"Content-Type", formType}, m.client.proves("client_secret_basic", form)...)...)
		m.wantOAuth(a, 400, "unsupported_grant_type", agentidp.CodeUnsupportedGrantType)
	}
}

// granted2xx asks the token endpoint for what it must give.
func (m *advertised) granted2xx(form url.Values, headers []string) *answer {
	m.t.Helper()
	return m.want(m.do("POST", m.at("token_endpoint"), "", form.Encode(), append([]string{"Content-Type", formType}, headers...)...), 200)
}

// methods asserts that each endpoint takes the ways of authentication that its member
// names, and none of the others that are registered.
func (m *advertised) methods(admin string) {
	m.t.Helper()
	ask := func(endpoint, method string) *answer {
		form := url.Values{"token": {admin}}
		headers := m.client.proves(method, form)
		switch method {
		case "client_secret_jwt":
			form.Set("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer")
			form.Set("client_assertion", m.client.byHMAC())
		case "Bearer":
			headers = []string{"Authorization", "Bearer " + admin}
		}
		if endpoint == "revocation" {
			form.Set("token", "changeme")
		}
		if endpoint == "token" {
			form.Set("grant_type", agentidp.GrantClientCredentials)
			if method == "none" { // which is for whoever presents what is a proof itself
				form = url.Values{"grant_type": {agentidp.GrantJWTBearer}, "assertion": {m.subject(nil)}, "client_id": {m.ci}}
			}
		}
		return m.do("POST", m.at(endpoint+"_endpoint"), "", form.Encode(), append([]string{"Content-Type", formType}, headers...)...)
	}
	for endpoint, others := range map[string][]string{
		"token": {"client_secret_jwt", "Bearer"}, "introspection": {"client_secret_jwt"}, "revocation": {"client_secret_jwt"},
	} {
		member := endpoint + "_endpoint_auth_methods_supported"
		for _, method := range m.list(member) {
			if method == "DPoP" { // see proofs
				continue
			}
			if a := ask(endpoint, method); a.Status != 200 {
				m.t.Errorf("%s has %s, and the answer is %d %s", member, method, a.Status, a.Raw)
			}
		}
		for _, method := range others {
			if a := ask(endpoint, method); a.Status != 401 || slices.Contains(m.list(member), method) {
				m.t.Errorf("%s does not have %s, and the answer is %d %s", member, method, a.Status, a.Raw)
			}
		}
		for _, method := range append(clientMethods, "none") {
			if !slices.Contains(m.list(member), method) {
				m.t.Errorf("%s does not have %s", member, method)
			}
		}
	}
}

// byHMAC is an assertion as client_secret_jwt has it.
func (c *askingClient) byHMAC() string {
	claims := mustJSON(c.t, map[string]any{"iss": c.id, "sub": c.id, "aud": c.url, "exp": c.clock.Now().Unix() + 60, "jti": agentidp.NewID(c.clock.Now())})
	return compact(`{"alg":"HS256","typ":"JWT"}`, string(claims), hs256([]byte(c.secret)))
}

// algorithms asserts that a client can sign with each algorithm that is named, and that
// these are all that there are.
func (m *advertised) algorithms(admin string) {
	m.t.Helper()
	for _, endpoint := range []string{"token", "introspection", "revocation"} {
		named := m.list(endpoint + "_endpoint_auth_signing_alg_values_supported")
		if all := append(slices.Clone(jose.Algorithms), "Ed25519"); !slices.Equal(named, all) {
			m.t.Errorf("%s: %v are named, and there are %v", endpoint, named, all)
		}
	}
	for _, alg := range jose.Algorithms { // by Ed25519, EdDSA's other name, test/thirdparty signs
		key := issuerKey() // RSA; such keys are slow to make
		if !strings.HasPrefix(alg, "RS") {
			var err error
			if key, err = jose.GenerateKey(alg); err != nil {
				m.t.Fatal(err)
			}
		}
		client := m.askingWith(m.register(admin, "signs-"+strings.ToLower(alg)+"@ci.acme.example", "tokens:read"), alg, key)
		m.active(alg, client.asks(introspectionPath, "private_key_jwt", admin), admin)
	}
}

// scopes asserts that those are named that the API's operations need, and admin.
func (m *advertised) scopes() {
	m.t.Helper()
	needed := map[string]bool{"admin": true}
	for _, op := range m.operations() {
		for _, scope := range strings.Fields(op.scope) {
			needed[scope] = true
		}
	}
	named := m.list("scopes_supported")
	for scope := range needed {
		if !slices.Contains(named, scope) {
			m.t.Errorf("an operation needs %s, and scopes_supported does not have it", scope)
		}
	}
	for _, scope := range named {
		if !agentidp.IsManagementScope(scope) {
			m.t.Errorf("scopes_supported has %s, which means nothing here", scope)
		}
	}
}
