package client

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestGitHubIDToken(t *testing.T) {
	var sent string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		sent = transcript(t, r)
		_, _ = io.WriteString(w, `{"count":2,"value":"id"}`)
	}))
	defer server.Close()
	t.Setenv(requestURLVariable, server.URL+"/idtoken?api-version=2.0")
	t.Setenv(requestTokenVariable, "runner-secret")
	got, err := (&Client{}).GitHubIDToken(t.Context(), "https://idp.example.com/o/acme")
	if err != nil || got != "id" {
		t.Fatalf("got %q, %v", got, err)
	}
	want := text(`
		GET /idtoken?api-version=2.0&audience=https%3A%2F%2Fidp.example.com%2Fo%2Facme
		Authorization: Bearer runner-secret`)
	if sent != want {
		t.Errorf("sent:\n%s\nwant:\n%s", sent, want)
	}
}

func TestGitHubIDTokenSaysWhatIsMissing(t *testing.T) {
	answering := func(status int, body string) func(w http.ResponseWriter, r *http.Request) {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", "https://elsewhere.example.com")
			w.WriteHeader(status)
			_, _ = io.WriteString(w, body)
		}
	}
	for _, test := range []struct {
		name         string
		url, token   string // "server" is the server that answers
		audience     string
		serve        http.HandlerFunc
		want, orElse string
	}{
		{name: "no variables", audience: "a", want: "`permissions: id-token: write`", orElse: "pull request from a fork"},
		{name: "one variable of two", url: "server", audience: "a", want: "`permissions: id-token: write`"},
		{name: "no audience", url: "server", token: "runner-secret", want: "the audience is empty"},
		{name: "plain http across a network", url: "http://ci.example.com/?x=1", token: "runner-secret", audience: "a", want: "in the clear"},
		{name: "a refusal", url: "server", token: "runner-secret", audience: "a", serve: answering(401, "runner-secret"), want: "answered 401 Unauthorized", orElse: "while the job runs"},
		{name: "a redirect", url: "server", token: "runner-secret", audience: "a", serve: answering(302, ""), want: "answered 302 Found"},
		{name: "an answer without a token", url: "server", token: "runner-secret", audience: "a", serve: answering(200, `{"count":0}`), want: "without an ID token"},
		{name: "an answer that is no JSON", url: "server", token: "runner-secret", audience: "a", serve: answering(200, `runner-secret`), want: "without an ID token"},
		{name: "nobody listening", url: "http://127.0.0.1:1/job-instance?x=1", token: "runner-secret", audience: "a", want: "connection refused"},
	} {
		t.Run(test.name, func(t *testing.T) {
			server := httptest.NewServer(test.serve)
			defer server.Close()
			if test.url == "server" {
				test.url = server.URL + "/idtoken?api-version=2.0"
			}
			t.Setenv(requestURLVariable, test.url)
			t.Setenv(requestTokenVariable, test.token)
			_, err := (&Client{MaxRetries: -1}).GitHubIDToken(t.Context(), test.audience)
			if err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), test.orElse) {
				t.Fatalf("got %v, want an error with %q and %q", err, test.want, test.orElse)
			}
			for _, private := range []string{"runner-secret", "job-instance", "api-version"} {
				if strings.Contains(err.Error(), private) {
					t.Errorf("the error repeats %s: %v", private, err)
				}
			}
		})
	}
}
