package client

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
)

func problem(req *http.Request, status int, body string) *http.Response {
	return &http.Response{
		StatusCode: status, Header: http.Header{"Content-Type": {"application/problem+json"}},
		Body: io.NopCloser(strings.NewReader(body)), Request: req,
	}
}

func TestTheTokenGoesToTheNamedHostsAlone(t *testing.T) {
	t.Parallel()
	const clear = "in the clear"
	for _, test := range []struct{ url, want string }{
		{"https://deploy.example.com/x", "Bearer secret"},
		{"https://DEPLOY.example.com:443/x", "Bearer secret"},
		{"https://other.example.com:8443/x", "Bearer secret"},
		{"http://127.0.0.1:8080/x", "Bearer secret"},
		{"http://[::1]/x", "Bearer secret"},
		{"https://deploy.example.com:8443/x", ""},
		{"https://other.example.com/x", ""},
		{"https://api.deploy.example.com/x", ""},
		{"https://deploy.example.com.evil.example/x", ""},
		{"https://deploy.example.com@evil.example/x", ""},
		{"https://evil.example/deploy.example.com", ""},
		{"http://127.0.0.1:8081/x", ""},
		{"http://evil.example/x", ""},
		{"http://deploy.example.com/x", clear},
		{"http://other.example.com:8443/x", clear},
	} {
		sent := "nothing"
		tr := &Transport{
			Tokens: StaticToken("secret"), Hosts: []string{"deploy.example.com", "other.example.com:8443", "127.0.0.1:8080", "::1"},
			Base: roundTripper(func(req *http.Request) (*http.Response, error) {
				sent = req.Header.Get("Authorization")
				return problem(req, 200, ""), nil
			}),
		}
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, test.url, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.URL.User = nil // of user@host, net/http makes a header of its own
		_, err = tr.RoundTrip(req)
		if test.want == clear {
			if err == nil || !strings.Contains(err.Error(), clear) || sent != "nothing" {
				t.Errorf("%s: sent %q, %v", test.url, sent, err)
			}
		} else if err != nil || sent != test.want {
			t.Errorf("%s: sent %q, want %q; %v", test.url, sent, test.want, err)
		}
		if req.Header.Get("Authorization") != "" {
			t.Errorf("%s: the caller's request was changed", test.url)
		}
	}
}

//
func TestARedirectNeverCarriesTheTokenToOrFromAnotherHost(t *testing.T) {
	t.Parallel()
	var hosts [2]string // of two services, both named
	var got []string
	var servers [2]*httptest.Server
	for i := range servers {
		servers[i] = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			got = append(got, []string{"a", "b"}[i]+" "+r.Header.Get("Authorization"))
			if to := r.URL.Query()["to"]; len(to) > 0 {
				next := "http://" + hosts[map[string]int{"a": 0, "b": 1}[to[0]]] + "/?"
				for _, more := range to[1:] {
					next += "to=" + more + "&"
				}
				http.Redirect(w, r, next, http.StatusTemporaryRedirect)
			}
		}))
		defer servers[i].Close()
		hosts[i] = strings.TrimPrefix(servers[i].URL, "http://")
	}
	hc := &http.Client{Transport: &Transport{Tokens: StaticToken("secret"), Hosts: hosts[:]}}
	for _, test := range []struct {
		path string
		want []string
	}{
		{"/?to=a", []string{"a Bearer secret", "a Bearer secret"}},
		{"/?to=b", []string{"a Bearer secret", "b "}},
		{"/?to=b&to=a", []string{"a Bearer secret", "b ", "a "}},
		{"/?to=a&to=b&to=b", []string{"a Bearer secret", "a Bearer secret", "b ", "b "}},
	} {
		got = nil
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, servers[0].URL+test.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		res, err := hc.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if !slices.Equal(got, test.want) {
			t.Errorf("%s: got %q, want %q", test.path, got, test.want)
		}
	}
}

func TestTheCallersOwnAuthorizationStays(t *testing.T) {
	t.Parallel()
	sent := ""
	tr := &Transport{Tokens: StaticToken("secret"), Hosts: []string{"deploy.example.com"}, Base: roundTripper(func(req *http.Request) (*http.Response, error) {
		sent = req.Header.Get("Authorization")
		return problem(req, 200, ""), nil
	})}
	req := httptest.NewRequest(http.MethodGet, "https://deploy.example.com", nil)
	req.Header.Set("Authorization", "Basic own")
	if _, err := tr.RoundTrip(req); err != nil || sent != "Basic own" {
		t.Errorf("sent %q, %v", sent, err)
	}
}

func TestWithoutATokenNothingIsSentAndTheBodyIsClosed(t *testing.T) {
	t.Parallel()
	const host = "deploy.example.com"
	for _, test := range []struct {
		source TokenSource
		hosts  []string
		want   string
	}{
		{TokenFile("/nowhere"), []string{host}, "read the access token"},
		{StaticToken(""), []string{host}, "it is empty"},
		{StaticToken("a\nb"), []string{host}, "in no token"},
		{nil, []string{host}, "Transport.Tokens"},
		{StaticToken("secret"), []string{"other.example.com", "https://" + host}, `"https://deploy.example.com" is no host`},
		{StaticToken("secret"), []string{"*.example.com"}, `"*.example.com" is no host`},
	} {
		tr := &Transport{Tokens: test.source, Hosts: test.hosts, Base: unreachable{t}}
		body := &closing{Reader: strings.NewReader("body")}
		req := httptest.NewRequest(http.MethodPost, "https://deploy.example.com", body)
		if _, err := tr.RoundTrip(req); err == nil || !strings.Contains(err.Error(), test.want) || !body.closed {
			t.Errorf("got %v, want %q; closed: %v", err, test.want, body.closed)
		}
	}
}

type closing struct {
	io.Reader
	closed bool
}

func (c *closing) Close() error {
	c.closed = true
	return errors.New("not to be told")
}
