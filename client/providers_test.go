package client

import (
	"errors"
	"testing"

	"github.com/sentryagent/agentidp"
)

func TestProviderConversations(t *testing.T) {
	t.Parallel()
	spec := agentidp.ProviderSpec{Name: "ghes", Kind: "github", Issuer: "https://ghes.example/_services/token"}
	for _, v := range []conversation{
		{
			name: "a provider is registered from what was said and nothing else",
			call: func(t *testing.T, c *Client) (any, error) {
				p, err := c.CreateProvider(t.Context(), spec)
				if err != nil {
					return nil, err
				}
				return []any{p.Name, p.JWKSURI, p.Revision}, nil
			},
			send: `
				POST /api/v1/oidc/providers
				Authorization: Bearer the-admin-token
				Content-Type: application/json

				{"name":"ghes","kind":"github","issuer":"https://ghes.example/_services/token"}`,
			answer: `
				201 Created

				{"id":"x","name":"ghes","jwksUri":"https://ghes.example/_services/token/.well-known/jwks","revision":1}`,
			want: []any{"ghes", "https://ghes.example/_services/token/.well-known/jwks", 1},
		},
		{
			name: "a list goes on where the cursor says",
			call: func(t *testing.T, c *Client) (any, error) {
				p, err := c.ListProviders(t.Context(), ListOptions{Limit: 1})
				if err != nil {
					return nil, err
				}
				return []any{p.Items[0].BuiltIn, p.NextCursor}, nil
			},
			send:   "GET /api/v1/oidc/providers?limit=1\nAuthorization: Bearer the-admin-token",
			answer: "200 OK\n\n" + `{"items":[{"name":"github","builtIn":true}],"nextCursor":"next"}`,
			want:   []any{true, "next"},
		},
		{
			name: "a provider is read by its name, whatever that is",
			call: func(t *testing.T, c *Client) (any, error) {
				p, err := c.GetProvider(t.Context(), "a/b?c")
				if err != nil {
					return nil, err
				}
				return string(p.JWKS), nil
			},
			send:   "GET /api/v1/oidc/providers/a%2Fb%3Fc\nAuthorization: Bearer the-admin-token",
			answer: "200 OK\n\n" + `{"name":"x","jwks":{"keys":[]}}`,
			want:   `{"keys":[]}`,
		},
		{
			name: "a replacement names the revision that it replaces",
			call: func(t *testing.T, c *Client) (any, error) {
				p, err := c.ReplaceProvider(t.Context(), "ghes", 3, spec)
				if err != nil {
					return nil, err
				}
				return p.Revision, nil
			},
			send: `
				PUT /api/v1/oidc/providers/ghes
				Authorization: Bearer the-admin-token
				Content-Type: application/json
				If-Match: "3"

				{"name":"ghes","kind":"github","issuer":"https://ghes.example/_services/token"}`,
			answer: "200 OK\n\n" + `{"revision":4}`,
			want:   4,
		},
		{
			name:   "a provider is deleted",
			call:   func(t *testing.T, c *Client) (any, error) { return nil, c.DeleteProvider(t.Context(), "ghes") },
			send:   "DELETE /api/v1/oidc/providers/ghes\nAuthorization: Bearer the-admin-token",
			answer: "204 No Content",
		},
		{
			name: "a report on an issuer of no use is no error",
			call: func(t *testing.T, c *Client) (any, error) {
				r, err := c.TestProvider(t.Context(), "ghes")
				if err != nil {
					return nil, err
				}
				return []any{r.Usable, r.Problems, r.Keys[0].Problem}, nil
			},
			send:   "POST /api/v1/oidc/providers/ghes/test\nAuthorization: Bearer the-admin-token",
			answer: "200 OK\n\n" + `{"provider":"ghes","usable":false,"problems":["No."],"keys":[{"kid":"a","usable":false,"problem":"its use is enc"}]}`,
			want:   []any{false, []string{"No."}, "its use is enc"},
		},
	} {
		t.Run(v.name, func(t *testing.T) {
			t.Parallel()
			v.run(t)
		})
	}
}

// What a newer server says of a provider is not lost by an older program.
func TestAProviderThatSaysMoreIsNotChanged(t *testing.T) {
	t.Parallel()
	stop := errors.New("asked to change it")
	for name, tt := range map[string]struct {
		answer string
		called bool
	}{
		"as it is known": {"200 OK\n\n" + `{"name":"ghes","issuer":"https://ghes.example","revision":3}`, true},
		"with more":      {"200 OK\n\n" + `{"name":"ghes","issuer":"https://ghes.example","revision":3,"thumbprints":["x"]}`, false},
	} {
		conversation{
			name: name,
			call: func(t *testing.T, c *Client) (any, error) {
				_, err := c.ChangeProvider(t.Context(), "ghes", func(*agentidp.ProviderSpec) error { return stop })
				if err == nil || errors.Is(err, stop) != tt.called {
					t.Errorf("%s: %v", name, err)
				}
				return nil, nil
			},
			send:   "GET /api/v1/oidc/providers/ghes\nAuthorization: Bearer the-admin-token",
			answer: tt.answer,
		}.run(t)
	}
}
