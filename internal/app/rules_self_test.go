package app

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// TestWhatBreaksTheRules: A-219 and the rest of the rules; what no server of ours answers would be noticed.
func TestWhatBreaksTheRules(t *testing.T) {
	t.Parallel()
	const (
		token  = "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJodHRwczovL2NpLmV4YW1wbGUiLCJhdWQiOiJ4IiwieHh4IjoxfQ.c2lnbmF0dXJlLW9mLXRoZS10b2tlbi13aGljaC1pcy1sb25nLWVub3VnaA"
		other  = "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJodHRwczovL2lkcC5leGFtcGxlIn0.c2lnbmF0dXJl"
		master = "bWFzdGVyIGtleSBvZiAzMiBieXRlcyBpbiBiYXNlNjQ"
	)
	payload := strings.Split(token, ".")[1]
	for _, tt := range []struct {
		name, path, bearer, body string
		status                   int
		cache, answer, broken    string
	}{
		{"a grant", exchangePath, "", `{"token":"` + token + `"}`, 200, "no-store", `{"access_token":"` + other + `"}`, ""},
		{"a refusal", exchangePath, "", `{"token":"` + token + `"}`, 401, "no-store", `{"code":"invalid_token","detail":"x"}`, ""},
		{"a refusal with a reason", exchangePath, "", `{"token":"` + token + `"}`, 401, "no-store", `{"code":"invalid_token","reason":"token_expired","claims":{"exp":"1"}}`, ""},
		{"a refusal that may be stored", exchangePath, "", `{}`, 401, "", `{}`, `Cache-Control is ""`},
		{"a document that is not there and may be stored", "/.well-known/jwks.json", "", "", 404, "public", `{}`, `Cache-Control is "public"`},
		{"the token is repeated", exchangePath, "", `{"token":"` + token + `"}`, 401, "no-store", `{"code":"invalid_token","detail":"` + token + ` is bad"}`, "it repeats eyJhbG… of its request"},
		{"a part of it is repeated", tokenPath, "", "assertion=" + token, 400, "no-store", `{"error_description":"` + payload + `"}`, "it repeats eyJpc3… of its request"},
		{"the bearer is repeated", agentsPath, other, "", 401, "no-store", `{"detail":"` + other + `"}`, "it repeats eyJhbG… of its request"},
		{"a token where none is granted", agentsPath, "", "", 200, "no-store", `{"x":"` + other + `"}`, "it has eyJhbGciOiJFUz…"},
		{"a token with an error", exchangePath, "", "", 503, "no-store", `{"x":"` + other + `"}`, "it has eyJhbGciOiJFUz…"},
		{"the master key", agentsPath, "", "", 500, "no-store", master, "it has the master key"},
		{"claims of an unproven token", exchangePath, "", `{}`, 401, "no-store", `{"code":"invalid_token","claims":{"iss":"x"}}`, "it has claims, and nothing is proven"},
		{"the provider of one, at the token endpoint", tokenPath, "", "", 400, "no-store", `{"error":"invalid_request","code":"invalid_token","provider":"github"}`, "it has provider, and nothing is proven"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := &rules{}
			r.guard(master)
			handler := r.around(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
				_, _ = io.Copy(io.Discard, req.Body) // what is read is overheard
				w.Header().Set("Cache-Control", tt.cache)
				w.WriteHeader(tt.status)
				_, _ = w.Write([]byte(tt.answer))
			}))
			req := httptest.NewRequest(http.MethodPost, tt.path, strings.NewReader(tt.body))
			if tt.bearer != "" {
				req.Header.Set("Authorization", "Bearer "+tt.bearer)
			}
			handler.ServeHTTP(httptest.NewRecorder(), req)
			broken := strings.Join(r.take(), "; ")
			if tt.broken == "" && broken != "" || !strings.Contains(broken, tt.broken) {
				t.Errorf("broken is %q, want %q", broken, tt.broken)
			}
		})
	}
}
