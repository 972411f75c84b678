package oauth

import (
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/problem"
	"github.com/sentryagent/agentidp/internal/registry"
)

// fuzzSecret stands where a request says SECRET. Ours have 40 characters and more, which is
// more than an answer repeats of any name.
const fuzzSecret = "s3cr3t-s3cr3t-s3cr3t-s3cr3t-s3cr3t-s3cr3t-s3cr3t"

// FuzzForm sends any form to the token endpoint, as far as it is read. Whatever comes is a
// request that says one thing, or an error of the caller's in the form of RFC 6749 §5.2,
// in its characters, which repeats no secret.
func FuzzForm(f *testing.F) {
	const exchange = "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Atoken-exchange&subject_token=SECRET&subject_token_type=urn%3Aietf%3Aparams%3Aoauth%3Atoken-type%3Ajwt"
	for _, seed := range [][3]string{
		{mediaForm, "", exchange},
		{mediaForm + "; charset=UTF-8", "Basic aWQ6c2VjcmV0", "grant_type=client_credentials&scope=a:b&resource=https://a.example&audience=https://a.example"},
		{mediaForm, "", "grant_type=client_credentials&client_id=id&client_secret=SECRET"},
		{mediaForm, "", "grant_type=urn:ietf:params:oauth:grant-type:jwt-bearer&assertion=SECRET&client_assertion=SECRET&client_assertion_type=" + assertionType},
		{mediaForm, "Bearer SECRET", exchange},
		{mediaForm, "", exchange + "&actor_token=SECRET"},
		{mediaForm, "", exchange + "&requested_token_type=refresh_token"},
		{mediaForm, "", "grant_type=client_credentials&client_id=a%00b"},
		{"text/plain", "", exchange}, {mediaForm + "; charset=utf-16", "", exchange},
		{mediaForm, "", exchange + "&subject_token=SECRET"}, {mediaForm, "", "SECRET&SECRET&SECRET"},
		{mediaForm, "", exchange + "&isAdmin=true&scope[]=admin"},
		{mediaForm, "", "%"}, {mediaForm, "", "a;b=c"}, {mediaForm, "Basic %", "grant_type=x"}, {mediaForm, "", strings.Repeat("a=b&", 100)},
	} {
		f.Add(seed[0], seed[1], seed[2])
	}
	s := &server{Config{Clock: time.Now}}
	org := &agentidp.Organization{Issuer: "https://idp.example"}
	f.Fuzz(func(t *testing.T, media, authorization, body string) {
		body, authorization = strings.ReplaceAll(body, "SECRET", fuzzSecret), strings.ReplaceAll(authorization, "SECRET", fuzzSecret)
		ctx := registry.WithOrganization(problem.WithTrace(t.Context(), &problem.Trace{RequestID: "id"}), org)
		r := httptest.NewRequestWithContext(ctx, http.MethodPost, TokenPath, strings.NewReader(body))
		r.Header = http.Header{"Content-Type": {media}}
		if authorization != "" {
			r.Header["Authorization"] = []string{authorization}
		}
		w := httptest.NewRecorder()
		req, err := s.readToken(w, r)
		if err == nil {
			_, _, err = req.audience()
		}
		if err != nil {
			writeTokenError(w, r, req.grant, err)
			refusedWell(t, w)
			return
		}
		form, err := url.ParseQuery(body)
		if err != nil || !maps.EqualFunc(form, req.form, slices.Equal) || len(form["grant_type"]) != 1 || req.grant != form.Get("grant_type") || grants[req.grant] == nil {
			t.Fatalf("read as %v, %v", req.form, err)
		}
		for name, values := range form {
			if len(values) > 1 && name != "resource" && name != "audience" {
				t.Fatalf("%s is accepted %d times", name, len(values))
			}
		}
		if p := req.client; p.Secret != "" && p.Assertion != "" || (p.Method == "none") != (p.Secret == "" && p.Assertion == "" && authorization == "") {
			t.Fatalf("the client is %+v", p)
		}
	})
}

// refusedWell asserts what every error of an endpoint is (RFC 6749 §5.2).
func refusedWell(t *testing.T, w *httptest.ResponseRecorder) {
	t.Helper()
	said := w.Body.String()
	for _, values := range w.Header() {
		said += strings.Join(values, " ")
	}
	if strings.Contains(said, fuzzSecret) {
		t.Fatal("the answer repeats a secret")
	}
	var got failure
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || got.Error == "" || got.Code == agentidp.CodeInternal || w.Code < 400 || w.Code > 499 {
		t.Fatalf("%d %s, %v", w.Code, w.Body, err)
	}
	forbidden := func(r rune) bool { return r < 0x20 || r > 0x7e || r == '"' || r == '\\' }
	if strings.ContainsFunc(got.Description, forbidden) {
		t.Fatalf("the description has other characters: %q", got.Description)
	}
}
