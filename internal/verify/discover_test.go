package verify_test

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/dnstest"
	"github.com/sentryagent/agentidp/internal/jose"
	"github.com/sentryagent/agentidp/internal/verify"
)

const wellKnown = "/.well-known/openid-configuration"

// document is a discovery document; a member that is absent is left out.
func document(t *testing.T, issuer string, changes map[string]any) string {
	t.Helper()
	all := map[string]any{
		"issuer": issuer, "jwks_uri": issuer + "/keys", "id_token_signing_alg_values_supported": []string{"RS256", "ES256"},
		"claims_supported": []string{"sub"}, "response_types_supported": []string{"id_token"}, "subject_types_supported": []string{"public"},
	}
	for name, value := range changes {
		if all[name] = value; value == absent {
			delete(all, name)
		}
	}
	body, err := json.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

// at answers one path, and all others with 404.
func (i *issuer) at(path, body string) {
	i.handle(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.RequestURI() != path {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		_, _ = w.Write([]byte(body))
	})
}

func TestDiscover(t *testing.T) {
	t.Parallel()
	w := newWorld(t, jose.ES256)
	for _, tt := range []struct{ name, path, at string }{
		{"an issuer that is a host", "", wellKnown},
		{"an issuer with a path", "/org/7", "/org/7" + wellKnown},
		{"an issuer that ends in a slash", "/", wellKnown},
		{"an issuer with a path that ends in a slash", "/tenant/guid/", "/tenant/guid" + wellKnown},
	} {
		issuer := w.issuer.URL + tt.path
		w.issuer.at(tt.at, document(t, issuer, map[string]any{"id_token_signing_alg_values_supported": []string{"none", "HS256", "PS256", "ES256", "RS256", "ES256"}}))
		d, err := w.verifier.Discover(t.Context(), issuer)
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		if d.Issuer != issuer || d.JWKSURI != issuer+"/keys" || !slices.Equal(d.Algorithms, []string{"ES256", "RS256"}) {
			t.Errorf("%s: %+v", tt.name, d)
		}
	}
	w.issuer.at(wellKnown, document(t, w.issuer.URL, map[string]any{"id_token_signing_alg_values_supported": absent}))
	if d, err := w.verifier.Discover(t.Context(), w.issuer.URL); err != nil || d.Algorithms != nil {
		t.Errorf("without algorithms: %+v, %v", d, err)
	}
}

// the issuer is the one asked for, to the byte.
func TestA184AnotherIssuersDocument(t *testing.T) {
	t.Parallel()
	w := newWorld(t, jose.ES256)
	for name, issuer := range map[string]string{
		"a slash more": w.issuer.URL + "/", "upper case": strings.ToUpper(w.issuer.URL), "plain http": strings.Replace(w.issuer.URL, "https", "http", 1),
		"a path": w.issuer.URL + "/x", "another host": "https://mallory.example", "a space": w.issuer.URL + " ", "a template": w.issuer.URL + "/{tenantid}",
	} {
		w.Advance(5 * time.Second)
		w.issuer.at(wellKnown, document(t, issuer, map[string]any{"jwks_uri": w.issuer.URL + "/keys"}))
		d, err := w.verifier.Discover(t.Context(), w.issuer.URL)
		e := wantField(t, err, "issuer")
		if d != nil || !strings.HasPrefix(e.Details[0].Reason, "is not the issuer that its discovery document names;") || strings.Contains(e.Message, "mallory") {
			t.Errorf("%s: %v, %v", name, d, err)
		}
	}
}

func TestDocumentsThatCannotBeUsed(t *testing.T) {
	t.Parallel()
	w := newWorld(t, jose.ES256)
	good := document(t, w.issuer.URL, nil)
	change := func(name string, value any) string { return document(t, w.issuer.URL, map[string]any{name: value}) }
	const cannot = "has a discovery document that cannot be used: "
	for name, tt := range map[string]struct{ body, want string }{
		"HTML":                   {"<!DOCTYPE html><title>secret-in-page</title>", cannot},
		"nothing":                {"", cannot},
		"a list":                 {"[]", cannot},
		"something behind it":    {good + "x", cannot},
		"issuer twice":           {strings.Replace(good, "{", `{"issuer":"https://mallory.example",`, 1), cannot},
		"no issuer":              {change("issuer", absent), cannot + "issuer is missing"},
		"an issuer in a list":    {change("issuer", []string{w.issuer.URL}), cannot + "issuer is not a string"},
		"no jwks_uri":            {change("jwks_uri", absent), cannot + "jwks_uri is missing"},
		"a jwks_uri of null":     {change("jwks_uri", nil), cannot + "jwks_uri is not a string"},
		"algorithms as text":     {change("id_token_signing_alg_values_supported", "RS256"), cannot + "id_token_signing_alg_values_supported is not a list of names"},
		"an algorithm that is 1": {change("id_token_signing_alg_values_supported", []any{"RS256", 1}), cannot + "id_token_signing_alg_values_supported is not a list of names"},
		"nesting of 100":         {change("x", json.RawMessage(strings.Repeat("[", 100)+strings.Repeat("]", 100))), cannot},
	} {
		w.Advance(5 * time.Second)
		w.issuer.at(wellKnown, tt.body)
		d, err := w.verifier.Discover(t.Context(), w.issuer.URL)
		e := wantField(t, err, "issuer")
		if d != nil || !strings.HasPrefix(e.Details[0].Reason, tt.want) || strings.Contains(e.Error(), "mallory") || strings.Contains(e.Error(), "secret") {
			t.Errorf("%s: %v", name, err)
		}
	}
	w.Advance(5 * time.Second)
	w.issuer.at(wellKnown, good+strings.Repeat(" ", 256<<10))
	if _, err := w.verifier.Discover(t.Context(), w.issuer.URL); agentidp.AsError(err).Code != agentidp.CodeIssuerUnreachable || !strings.Contains(err.Error(), "262144 bytes") {
		t.Errorf("a document without end: %v", err)
	}
}

// the document does not move the keys, and an address that it names is
// checked like any other.
func TestA185KeysElsewhere(t *testing.T) {
	t.Parallel()
	w := newWorld(t, jose.ES256)
	w.config.Hosts = append(w.config.Hosts, "keys.internal")
	w.config.Configured = []string{"https://127.0.0.1:1/"}
	w.restart(t)
	own := w.issuer.Listener.Addr().String()
	for keys, want := range map[string]string{
		"https://" + own + "/keys?x=y":              "",
		"https://keys.internal:8443/keys":           "",
		"http://keys.internal/keys":                 "",
		"https://www.googleapis.com/oauth2/v3/keys": "is on another host, www.googleapis.com; if the issuer's own documentation says so too, give https://www.googleapis.com/oauth2/v3/keys as jwksUri",
		"http://" + own + "/keys":                   "", // listed, so plain http is the operator's choice
		"https://127.0.0.1:1/keys":                  "is on another host, 127.0.0.1:1",
		"https://127.0.0.1/keys":                    "names the address 127.0.0.1 instead of a host",
		"http://mallory.example/keys":               "uses plain http",
		"https://169.254.169.254/latest":            "names the address 169.254.169.254 instead of a host",
		"https://x@" + own + "/keys":                "has user information in it",
		"https://ci.example:22/keys":                "names port 22",
		"https://metadata.google.internal/":         "names the host metadata.google.internal, which is not one of the public internet",
		"file:///etc/passwd":                        "is not an https URL",
		"/keys":                                     "is not an https URL",
	} {
		w.Advance(5 * time.Second)
		w.issuer.at(wellKnown, document(t, w.issuer.URL, map[string]any{"jwks_uri": keys}))
		d, err := w.verifier.Discover(t.Context(), w.issuer.URL)
		if want == "" {
			if err != nil || d.JWKSURI != keys {
				t.Errorf("%s: %+v, %v", keys, d, err)
			}
			continue
		}
		e := wantField(t, err, "jwksUri")
		if !strings.HasPrefix(e.Details[0].Reason, "(of the issuer's discovery document) "+want) || d == nil || d.JWKSURI != keys {
			t.Errorf("%s: %+v, %v", keys, d, err)
		}
	}
}

// What whoever named the issuer can do something about is said to be wrong; what may
// pass is unavailable.
func TestIssuersThatDoNotAnswer(t *testing.T) {
	t.Parallel()
	w := newWorld(t, jose.ES256)
	w.config.Resolver = dnstest.New(dnstest.Table(map[string][]string{"inside.example": {"10.0.0.1"}, "cloud.example": {"169.254.169.254"}})).Resolver()
	w.restart(t)
	discover := func(issuer string, status int) error {
		w.Advance(5 * time.Second)
		w.issuer.handle(func(rw http.ResponseWriter, _ *http.Request) {
			rw.Header().Set("Location", "https://mallory.example/")
			rw.WriteHeader(status)
			_, _ = rw.Write([]byte("secret"))
		})
		_, err := w.verifier.Discover(t.Context(), issuer)
		if err == nil || strings.Contains(err.Error(), "secret") || strings.Contains(err.Error(), "mallory") {
			t.Errorf("%s, %d: %v", issuer, status, err)
		}
		return err
	}
	address := w.issuer.URL + wellKnown
	for status, want := range map[int]string{
		301: "leads to " + address + ", which answers 301; redirects are not followed, so give the address that it leads to",
		307: "leads to " + address + ", which answers 307; redirects are not followed, so give the address that it leads to",
		404: "leads to " + address + ", which answers 404; see whether it is right",
		403: "leads to " + address + ", which answers 403; see whether it is right",
	} {
		if e := wantField(t, discover(w.issuer.URL, status), "issuer"); e.Details[0].Reason != want {
			t.Errorf("%d: %s", status, e.Details[0].Reason)
		}
	}
	for status, want := range map[int]string{
		500: "the answer is 500 Internal Server Error, not 200", 503: "the answer is 503 Service Unavailable, not 200",
		429: "the answer is 429 Too Many Requests, not 200", 206: "the answer is 206 Partial Content, not 200",
	} {
		e := agentidp.AsError(discover(w.issuer.URL, status))
		if e.Kind != agentidp.Unavailable || e.Code != agentidp.CodeIssuerUnreachable || e.Message != "Nothing can be fetched from "+address+": "+want+"." {
			t.Errorf("%d: %v", status, e)
		}
	}
	for issuer, want := range map[string]string{
		"https://ci.example/" + strings.Repeat("x", 1000): "is longer than 1024 bytes",
		"https://inside.example":                          "names a host, inside.example, whose address is private; if it is right, have the operator list inside.example in AGENTIDP_ISSUER_HOSTS",
		"https://cloud.example":                           "names a host, cloud.example, whose address is link-local, where clouds have their metadata",
		"https://127.0.0.1":                               "names the address 127.0.0.1 instead of a host; give the host's name, or if it is right, have the operator list 127.0.0.1 in AGENTIDP_ISSUER_HOSTS",
	} {
		e := wantField(t, discover(issuer, 200), "issuer")
		if got := e.Details[0].Reason; got != want {
			t.Errorf("%s: %s", issuer, got)
		}
	}
	if e := agentidp.AsError(discover("https://nobody.example", 200)); e.Kind != agentidp.Unavailable || !strings.HasSuffix(e.Message, ": there is no such host.") {
		t.Errorf("a name of nobody: %v", e)
	}
}

func TestFetchKeys(t *testing.T) {
	t.Parallel()
	w := newWorld(t, jose.ES256)
	w.mustVerify(t, w.good(t))
	was := w.verifier.Stats()
	good := string(jwks(t, w.key))
	good = good[len(`{"keys":[`) : len(good)-2]
	other := strings.TrimSuffix(strings.TrimPrefix(string(jwks(t, newKey(t, "k1", jose.ES256))), `{"keys":[`), "]}")
	second := strings.ReplaceAll(good, `"k1"`, `"k2"`)
	w.issuer.answers(200, `{"keys":[`+strings.Join([]string{
		second, second, good, other, strings.Replace(good, `"kid":"k1",`, "", 1), strings.Replace(second, "{", `{"d":"AAAA",`, 1),
		strings.Replace(second, `"sig"`, `"enc"`, 1), `{"kty":"oct","kid":"s","k":"AAAA"}`, `{"kty":"RSA","kid":"r","alg":"RS256","n":"AQAB","e":"AQAB"}`, `"x"`, `{"kid":"\u001b[2J","kty":"EC"}`,
	}, ",")+`]}`)
	got, err := w.verifier.FetchKeys(t.Context(), w.provider.JWKSURI, []string{jose.ES256})
	if err != nil {
		t.Fatal(err)
	}
	want := []verify.KeyReport{
		{"k2", "EC", "ES256", ""},
		{"k2", "EC", "ES256", "it is in the set twice"},
		{"k1", "EC", "ES256", "its kid stands for another key, too"},
		{"k1", "EC", "ES256", "its kid stands for another key, too"},
		{"", "EC", "ES256", "it has no kid, and tokens name their key by that"},
		{"k2", "EC", "ES256", "it has the private or symmetric member d"},
		{"k2", "EC", "ES256", "use is not sig"},
		{"s", "oct", "", "it has the private or symmetric member k"},
		{"r", "RSA", "RS256", "its alg is not allowed"},
		{"", "", "", "not an object at byte 0"},
	}
	if len(got) != len(want)+1 || !slices.Equal(got[:len(want)], want) {
		for _, r := range got {
			t.Errorf("%+v", r)
		}
	}
	if last := got[len(got)-1]; last.KeyID != "" || last.Problem == "" || strings.ContainsRune(last.Problem, 0x1b) {
		t.Errorf("a kid that commands a terminal: %+v", last)
	}
	if now := w.verifier.Stats(); now != was {
		t.Errorf("the cache was touched: %+v, %+v", was, now)
	}
	w.mustVerify(t, w.good(t))

	w.issuer.answers(200, "<html>secret")
	if e := wantField(t, errOf(w.verifier.FetchKeys(t.Context(), w.provider.JWKSURI, nil)), "jwksUri"); strings.Contains(e.Error(), "secret") {
		t.Errorf("got %v", e)
	}
	wantField(t, errOf(w.verifier.FetchKeys(t.Context(), "http://ci.example", nil)), "jwksUri")
	w.issuer.answers(404, "")
	wantField(t, errOf(w.verifier.FetchKeys(t.Context(), w.provider.JWKSURI, nil)), "jwksUri")
}

func errOf(_ []verify.KeyReport, err error) error { return err }

func TestProbesAreLimited(t *testing.T) {
	t.Parallel()
	w := newWorld(t, jose.ES256)
	fetch := func() *agentidp.Error {
		if _, err := w.verifier.FetchKeys(t.Context(), w.provider.JWKSURI, nil); err != nil {
			return agentidp.AsError(err)
		}
		return nil
	}
	wantLimited := func(what string, e *agentidp.Error, after time.Duration) {
		t.Helper()
		if e == nil || e.Kind != agentidp.TooMany || e.Code != agentidp.CodeRateLimited || e.RetryAfter != after {
			t.Errorf("%s: %+v", what, e)
		}
	}
	for i := range 5 {
		if e := fetch(); e != nil {
			t.Fatalf("request %d: %v", i+1, e)
		}
		w.Advance(time.Second)
	}
	if e := fetch(); e != nil {
		t.Fatalf("five seconds after the first: %v", e)
	}
	wantLimited("the next", fetch(), time.Second)
	w.Advance(999 * time.Millisecond)
	wantLimited("a second after it, but for a millisecond", fetch(), time.Millisecond)
	w.Advance(time.Millisecond)
	if e := fetch(); e != nil {
		t.Fatalf("a second after it: %v", e)
	}

	// One at a time for a host, whatever the path.
	w.Advance(5 * time.Second)
	begun, end := make(chan struct{}), make(chan struct{})
	good := string(jwks(t, w.key))
	w.issuer.handle(func(rw http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			close(begun)
			<-end
		}
		_, _ = rw.Write([]byte(good))
	})
	slow := make(chan error)
	go func() {
		_, err := w.verifier.FetchKeys(t.Context(), w.issuer.URL+"/slow", nil)
		slow <- err
	}()
	<-begun
	wantLimited("while another is under way", fetch(), time.Second)
	w.mustVerify(t, w.good(t)) // tokens do not wait for administrators
	close(end)
	if err := <-slow; err != nil {
		t.Error(err)
	}
	if e := fetch(); e != nil {
		t.Errorf("when it is over: %v", e)
	}
}

// wantField checks that an error is about one field, and says so.
func wantField(t *testing.T, err error, field string) *agentidp.Error {
	t.Helper()
	if err == nil {
		t.Fatal("accepted")
	}
	e := agentidp.AsError(err)
	if e.Kind != agentidp.Invalid || e.Code != agentidp.CodeInvalidRequest || len(e.Details) != 1 || e.Details[0].Field != field {
		t.Fatalf("want an error about %s, got %v", field, err)
	}
	return e
}
