package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/client"
	"github.com/sentryagent/agentidp/internal/jose"
)

// issuer is a server of which every part can be wrong.
type issuer struct {
	*httptest.Server
	metadata, jwks http.HandlerFunc
	signer         *jose.Signer
}

func newIssuer(t *testing.T) *issuer {
	t.Helper()
	i := &issuer{signer: newSigner(t)}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/oauth-authorization-server", func(w http.ResponseWriter, r *http.Request) { i.metadata(w, r) })
	mux.HandleFunc("GET /keys", func(w http.ResponseWriter, r *http.Request) { i.jwks(w, r) })
	mux.HandleFunc("GET /elsewhere", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, i.document("/keys")) })
	i.Server = httptest.NewServer(mux)
	t.Cleanup(i.Close)
	i.metadata = func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, i.document(i.URL+"/keys")) }
	key, err := i.signer.Public().JWK()
	if err != nil {
		t.Fatal(err)
	}
	i.jwks = func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintf(w, `{"keys":[%s]}`, key) }
	return i
}

func (i *issuer) document(jwksURI string) string {
	return fmt.Sprintf(`{"issuer":%q,"jwks_uri":%q}`, i.URL, jwksURI)
}

func newSigner(t *testing.T) *jose.Signer {
	t.Helper()
	key, err := jose.GenerateKey(jose.ES256)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := jose.NewSigner(jose.ES256, key)
	if err != nil {
		t.Fatal(err)
	}
	return signer
}

func TestInspectIsContentOnlyWhenAllIsRight(t *testing.T) {
	t.Parallel()
	type edit struct {
		issuer *issuer
		claims map[string]any
	}
	redirect := func(to string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, to, http.StatusFound) }
	}
	write := func(doc string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, doc) }
	}
	for _, tt := range []struct {
		name string
		edit func(*edit)
		want []string // in standard error, each; none: exit code 0
	}{
		{"all is right", func(*edit) {}, nil},
		{"the token has expired", func(e *edit) { e.claims["exp"] = time.Now().Add(-time.Minute).Unix() }, []string{"life: not good: expired 1m"}},
		{"it says no time of expiry", func(e *edit) { delete(e.claims, "exp") }, []string{"life: not good: it says no time of expiry"}},
		{"its expiry is no number", func(e *edit) { e.claims["exp"] = "never" }, []string{"life: not good: it says no time of expiry"}},
		{"it says another issuer", func(e *edit) { e.claims["iss"] = "https://idp.example.com" }, []string{`issuer: not good: the token says "https://idp.example.com"`}},
		{"it says the issuer under another name", func(e *edit) { e.claims["ISS"] = e.claims["iss"]; delete(e.claims, "iss") }, []string{`issuer: not good: the token says ""`}},
		{"it is another organization's of the server", func(e *edit) { e.claims["iss"] = e.issuer.URL + "/o/acme" }, []string{"issuer: not good"}},
		{"another key signed it", func(e *edit) { e.issuer.signer = newSigner(t) }, []string{"signature: not good: no key of"}},
		{"all is wrong, and all is said", func(e *edit) { e.issuer.signer, e.claims = newSigner(t), nil }, []string{"signature: not good", "issuer: not good", "life: not good"}},
		{"the metadata names another issuer", func(e *edit) { e.issuer.metadata = write(`{"issuer":"https://idp.example.com"}`) }, []string{"names another issuer (RFC 8414 §3.3)"}},
		{"the metadata is not JSON", func(e *edit) { e.issuer.metadata = write(`hello`) }, []string{"is not an issuer's"}},
		{"the metadata is elsewhere", func(e *edit) { e.issuer.metadata = redirect("/elsewhere") }, []string{"answered 302 Found; redirects are not followed"}},
		{"the keys are elsewhere", func(e *edit) { e.issuer.jwks = redirect("/elsewhere") }, []string{"answered 302 Found; redirects are not followed"}},
		{"the keys are to be had over plain http", func(e *edit) { e.issuer.metadata = write(e.issuer.document("http://keys.example.com/keys")) }, []string{"the URL of the server's keys: plain http to keys.example.com"}},
		{"the keys are a file", func(e *edit) { e.issuer.metadata = write(e.issuer.document("file:///etc/passwd")) }, []string{"it is not an absolute https URL"}},
		{"the keys are endless", func(e *edit) { e.issuer.jwks = write(strings.Repeat(" ", maxDocument+1)) }, []string{"the server's keys are larger than 256 KiB"}},
		{"the keys are no key set", func(e *edit) { e.issuer.jwks = write(`[]`) }, []string{"read the key set"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			i := newIssuer(t)
			now := time.Now()
			e := &edit{i, map[string]any{"iss": i.URL, "iat": now.Unix(), "exp": now.Add(15 * time.Minute).Unix()}}
			tt.edit(e)
			payload, err := json.Marshal(e.claims)
			if err != nil {
				t.Fatal(err)
			}
			token, err := i.signer.Sign("at+jwt", payload)
			if err != nil {
				t.Fatal(err)
			}
			var stdout, stderr strings.Builder
			code := Main(t.Context(), []string{"token", "inspect", "--server", i.URL + "/"}, &IO{In: strings.NewReader(token), Out: &stdout, Err: &stderr})
			if want := min(len(tt.want), 1); code != want {
				t.Errorf("exit code %d, want %d: %s", code, want, stderr.String())
			}
			for _, want := range tt.want {
				if !strings.Contains(stderr.String(), want) {
					t.Errorf("standard error has no %q:\n%s", want, stderr.String())
				}
			}
			if good := strings.Contains(stdout.String(), "signature: good"); good != (tt.want == nil) {
				t.Errorf("it says that the signature is good: %v", good)
			}
		})
	}
}

func TestExitCodes(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		err  error
		want int
	}{
		{"a failure", errors.New("x"), exitFailed},
		{"a wrong command line", usageError{errors.New("x")}, exitUsage},
		{"a value that the product does not take", fmt.Errorf("x: %w", agentidp.NewError(agentidp.Invalid, agentidp.CodeInvalidRequest, "x")), exitUsage},
		{"a refusal", fmt.Errorf("x: %w", &client.Error{Status: 403}), exitRefused},
		{"too many requests", &client.Error{Status: 429}, exitRefused},
		{"a server that is in trouble", &client.Error{Status: 503}, exitFailed},
		{"a redirect", &client.Error{Status: 302}, exitFailed},
	} {
		var stderr strings.Builder
		if got := report(&IO{Err: &stderr}, tt.err); got != tt.want {
			t.Errorf("%s: exit code %d, want %d", tt.name, got, tt.want)
		}
		if !strings.HasPrefix(stderr.String(), "agentidp: ") {
			t.Errorf("%s: %q", tt.name, stderr.String())
		}
	}
}

func TestTheDemoSaysWhatDidNotHold(t *testing.T) {
	t.Parallel()
	const code = agentidp.CodeBranchNotPermitted
	for _, tt := range []struct {
		name string
		err  error
		want string // "" is no error
	}{
		{"the refusal that was expected", &client.Error{Status: 403, Code: code}, ""},
		{"a token after all", nil, "got a token"},
		{"another refusal", &client.Error{Status: 401, Code: "invalid_token", Message: "It has expired."}, "got: It has expired."},
		{"another reason", &client.Error{Status: 403, Code: code, Reason: "x", Message: "No."}, "got: No."},
		{"no answer", errors.New("connection refused"), "got: connection refused"},
	} {
		got := ""
		if err := wantRefusal(tt.err, 403, code, ""); err != nil {
			got = err.Error()
		}
		if (got == "") != (tt.want == "") || !strings.Contains(got, tt.want) || strings.Contains(got, "%!") {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}
