package client

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"net/http"
	"net/url"
	"strconv"

	"github.com/sentryagent/agentidp"
)

const providersPath = "/oidc/providers"

// ListProviders returns one page of the providers: the built-in one first, then the
// others in the order of their registration.
func (c *Client) ListProviders(ctx context.Context, opts ListOptions) (*Page[agentidp.RegisteredProvider], error) {
	var out Page[agentidp.RegisteredProvider]
	err := c.do(ctx, &call{verb: "list providers", method: http.MethodGet, path: providersPath, query: opts.query(), out: &out})
	if err != nil {
		return nil, err
	}
	return &out, nil
}

// AllProviders goes through all providers, in the order of ListProviders, and reads
// pages as they are needed. An error ends it.
func (c *Client) AllProviders(ctx context.Context) iter.Seq2[*agentidp.RegisteredProvider, error] {
	return all(func(opts ListOptions) (*Page[agentidp.RegisteredProvider], error) { return c.ListProviders(ctx, opts) })
}

// GetProvider returns one provider by its name, or agentidp.CodeNotFound.
func (c *Client) GetProvider(ctx context.Context, name string) (*agentidp.RegisteredProvider, error) {
	var out agentidp.RegisteredProvider
	if err := c.provider(ctx, "get the provider", http.MethodGet, name, "", &call{out: &out}); err != nil {
		return nil, err
	}
	return &out, nil
}

// CreateProvider registers an issuer. A name or an issuer that is registered already
// is agentidp.CodeProviderExists; an issuer that does not say where its keys are is
// agentidp.CodeIssuerUnreachable or a bad field, and then nothing is saved.
func (c *Client) CreateProvider(ctx context.Context, spec agentidp.ProviderSpec) (*agentidp.RegisteredProvider, error) {
	var out agentidp.RegisteredProvider
	err := c.do(ctx, &call{verb: "create the provider", method: http.MethodPost, path: providersPath, body: spec, out: &out})
	if err != nil {
		return nil, err
	}
	return &out, nil
}

// ReplaceProvider replaces a provider as a whole: what spec leaves out goes back to
// its default. revision is that of the provider as the caller knows it; if someone
// changed it since, the answer is agentidp.CodePreconditionFailed. Once it returns, no
// exchange is decided by what the provider said before.
func (c *Client) ReplaceProvider(ctx context.Context, name string, revision int64, spec agentidp.ProviderSpec) (*agentidp.RegisteredProvider, error) {
	var out agentidp.RegisteredProvider
	k := &call{ifMatch: `"` + strconv.FormatInt(revision, 10) + `"`, body: spec, out: &out}
	if err := c.provider(ctx, "replace the provider", http.MethodPut, name, "", k); err != nil {
		return nil, err
	}
	return &out, nil
}

// ChangeProvider reads a provider, lets change change what it says, and replaces it. If
// someone else changed it in between, the answer is agentidp.CodePreconditionFailed, and
// nothing is changed; so it is when it says what this package does not know, as with
// ChangeTrustPolicy.
func (c *Client) ChangeProvider(ctx context.Context, name string, change func(*agentidp.ProviderSpec) error) (*agentidp.RegisteredProvider, error) {
	var doc json.RawMessage
	if err := c.provider(ctx, "get the provider", http.MethodGet, name, "", &call{out: &doc}); err != nil {
		return nil, err
	}
	var p agentidp.RegisteredProvider
	if err := decodeKnown(doc, &p, "provider"); err != nil {
		return nil, err
	}
	if err := change(&p.ProviderSpec); err != nil {
		return nil, err
	}
	return c.ReplaceProvider(ctx, name, p.Revision, p.ProviderSpec)
}

// DeleteProvider deletes a provider; while a trust policy names it, the answer is
// agentidp.CodeProviderInUse. Once it returns, no exchange is granted on its word.
func (c *Client) DeleteProvider(ctx context.Context, name string) error {
	return c.provider(ctx, "delete the provider", http.MethodDelete, name, "", &call{})
}

// TestProvider has the server look at the provider's issuer, and returns what it
// found. It changes nothing. That the issuer is of no use is no error.
func (c *Client) TestProvider(ctx context.Context, name string) (*agentidp.ProviderReport, error) {
	var out agentidp.ProviderReport
	if err := c.provider(ctx, "test the provider", http.MethodPost, name, "/test", &call{out: &out, readOnly: true}); err != nil {
		return nil, err
	}
	return &out, nil
}

// provider makes a call about one provider. A name that would be another path is
// refused, and whatever else is escaped.
func (c *Client) provider(ctx context.Context, verb, method, name, suffix string, k *call) error {
	if name == "" || name == "." || name == ".." {
		return fmt.Errorf("provider name: %q is not a name", name)
	}
	k.verb, k.method, k.path = verb, method, providersPath+"/"+url.PathEscape(name)+suffix
	return c.do(ctx, k)
}
