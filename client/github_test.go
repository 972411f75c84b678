package client

import (
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
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

// In a GitHub job, ID tokens come from GitHub, and a source may be its own client's.
func TestInAGitHubJobTheIDTokenIsForTheServerAlone(t *testing.T) {
	t.Setenv(requestURLVariable, "https://ci.example.com/idtoken?api-version=2.0")
	t.Setenv(requestTokenVariable, "runner-secret")
	synctest.Test(t, func(t *testing.T) {
		var sent []string
		c := &Client{BaseURL: "https://idp.example.com"}
		c.Tokens = &ExchangeSource{Client: c, AgentID: agentID}
		c.HTTP = &http.Client{Transport: roundTripper(func(req *http.Request) (*http.Response, error) {
			got := req.Clone(t.Context()) // as a server has it
			if got.RequestURI = req.URL.RequestURI(); got.Body == nil {
				got.Body = http.NoBody
			}
			sent = append(sent, transcript(t, got))
			f := fate{status: 200, body: `{"items":[]}`}
			switch {
			case len(sent) == 1:
				f = fate{status: 502} // GitHub is asked again too
			case strings.HasPrefix(req.URL.Path, "/idtoken"):
				f.body = `{"value":"id"}`
			case strings.HasSuffix(req.URL.Path, "/token"):
				f = fine
			}
			return &http.Response{StatusCode: f.status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(f.body)), Request: req}, nil
		})}
		if err := listAgents(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		asked := "GET /idtoken?api-version=2.0&audience=https%3A%2F%2Fidp.example.com\nAuthorization: Bearer runner-secret"
		want := []string{
			asked, asked,
			"POST /api/v1/oidc/token\nContent-Type: application/json\n\n" + `{"token":"id","agentId":"` + agentID + `"}`,
			"GET /api/v1/agents\nAuthorization: Bearer at",
		}
		if !slices.Equal(sent, want) {
			t.Errorf("sent:\n%s\nwant:\n%s", strings.Join(sent, "\n\n"), strings.Join(want, "\n\n"))
		}
	})
}

func TestWhatGitHubDoesNotGiveIsAskedForFourTimesInAll(t *testing.T) {
	t.Setenv(requestURLVariable, "https://ci.example.com/idtoken?api-version=2.0")
	t.Setenv(requestTokenVariable, "runner-secret")
	synctest.Test(t, func(t *testing.T) {
		n := &network{fates: []fate{{status: 503, after: "3"}}}
		got := token(t, &ExchangeSource{Client: n.client()})
		if !strings.Contains(got, "ci.example.com answered 503") || !strings.Contains(got, "tried 4 times") || len(n.times) != 4 || n.waits()[0] < 3*time.Second {
			t.Errorf("got %s; waited %v", got, n.waits())
		}
	})
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }
