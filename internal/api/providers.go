package api

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"reflect"

	"github.com/danielgtaylor/huma/v2"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/registry"
)

const providersPath = "/api/v1/oidc/providers"

type providerBody struct {
	Body    agentidp.ProviderSpec
	RawBody []byte
}

// Resolve adds what the registry finds wrong to what the schema did, so that one
// answer names every bad field.
func (b *providerBody) Resolve(hc huma.Context) []error {
	return resolveProvider(hc, b.RawBody, "")
}

// resolveProvider checks a body; where it names no kind, that of the provider with
// this name counts, if there is one.
func resolveProvider(hc huma.Context, body []byte, name string) []error {
	var spec agentidp.ProviderSpec
	err := json.Unmarshal(body, &spec)
	if _, ok := errors.AsType[*json.UnmarshalTypeError](err); err != nil && !ok {
		return nil // as in resolvePolicy
	}
	ctx := hc.Context()
	reg, org := callFrom(ctx).Registry, registry.OrganizationFrom(ctx)
	if name != "" && spec.Kind == "" {
		old, err := reg.Provider(ctx, org, name)
		if err != nil {
			return nil // the operation meets the same, and answers for it
		}
		spec.Kind = old.Kind
	}
	return found("body", reg.CheckProvider(org, spec))
}

// ProviderPath names a provider; exported because huma looks only into exported
// embedded fields.
type ProviderPath struct {
	Name string `path:"name" maxLength:"64" doc:"The provider's name."`
}

type providerReplacement struct {
	ProviderPath
	IfMatch string `header:"If-Match"`
	Body    agentidp.ProviderSpec
	RawBody []byte
}

// Resolve is that of providerBody.
func (r *providerReplacement) Resolve(hc huma.Context) []error {
	return resolveProvider(hc, r.RawBody, r.Name)
}

type providerDeletion struct {
	ProviderPath
	IfMatch string `header:"If-Match" doc:"Delete only this revision."`
}

type providerAnswer struct {
	ETag     string `header:"ETag" doc:"The revision; the built-in provider has none."`
	Location string `header:"Location" doc:"The provider's URL, on creation."`
	Body     *agentidp.RegisteredProvider
}

type providerReport struct {
	Body *agentidp.ProviderReport
}

func (a *API) registerProviders() {
	const tag = "Providers"
	register(a, operation{
		id: "createProvider", method: http.MethodPost, path: providersPath, tag: tag, scope: agentidp.ScopeProvidersWrite,
		summary: "Register an issuer of subject tokens",
		description: "name, kind and issuer suffice. It gives nobody anything: policies that name it do. Where neither jwksUri nor jwks is given, kind github has its keys below the issuer, and the others are asked for their discovery document now: if it cannot be had, nothing is saved. " +
			"Whoever is not admin takes the issuer as it describes itself: audiences, algorithms, keys, a longer life of tokens than the kind's and replay allow need admin.",
		body:   reflect.TypeFor[agentidp.ProviderSpec](),
		status: http.StatusCreated, failures: []int{409, 413, 415, 429},
	}, a.createProvider)
	register(a, operation{
		id: "listProviders", method: http.MethodGet, path: providersPath, tag: tag, scope: agentidp.ScopeProvidersRead,
		summary:     "List providers",
		description: "The built-in one first, then the others in the order of their registration, in pages.",
	}, a.listProviders)
	register(a, operation{
		id: "getProvider", method: http.MethodGet, path: providersPath + "/{name}", tag: tag, scope: agentidp.ScopeProvidersRead,
		summary: "Read a provider", description: "Its ETag is what a replacement needs.", failures: []int{404},
	}, a.getProvider)
	register(a, operation{
		id: "replaceProvider", method: http.MethodPut, path: providersPath + "/{name}", tag: tag, scope: agentidp.ScopeProvidersWrite,
		summary: "Replace a provider",
		description: "A full replacement: what is left out returns to its default, jwksUri to what the issuer says now. name, kind and issuer cannot change. No exchange that begins after the answer is decided by what the provider said before. " +
			"Whoever is not admin leaves audiences, algorithms and keys as they are, and may be stricter about age and replay.",
		body: reflect.TypeFor[agentidp.ProviderSpec](),
		// As in replaceTrustPolicy.
		parameters: []*huma.Param{{Name: "If-Match", In: "header", Required: true, Description: "The ETag that was read.", Schema: &huma.Schema{Type: huma.TypeString}}},
		failures:   []int{404, 409, 412, 413, 415, 428, 429},
	}, a.replaceProvider)
	register(a, operation{
		id: "deleteProvider", method: http.MethodDelete, path: providersPath + "/{name}", tag: tag, scope: agentidp.ScopeProvidersWrite,
		summary:     "Delete a provider",
		description: "No exchange that begins after the answer is granted on its word. It is refused (409) while a trust policy names it. The identities to which its repositories are pinned are forgotten; tokens that were granted live on until they expire.",
		status:      http.StatusNoContent, failures: []int{404, 409, 412},
	}, a.deleteProvider)
	register(a, operation{
		id: "testProvider", method: http.MethodPost, path: providersPath + "/{name}/test", tag: tag, scope: agentidp.ScopeProvidersWrite,
		summary:     "Look at a provider's issuer",
		description: "Fetches its discovery document, where one is read, and its keys, and reports what it found. It changes nothing, and what tokens are verified with stays as it is; it takes leave to write because the server makes requests for it. There is no request body.",
		failures:    []int{404, 415, 429},
	}, a.testProvider)
}

func (a *API) createProvider(ctx context.Context, c *registry.Caller, in *providerBody) (*providerAnswer, error) {
	org := registry.OrganizationFrom(ctx)
	p, err := a.Registry.CreateProvider(ctx, org, c, in.Body)
	if err != nil {
		return nil, err
	}
	return &providerAnswer{ETag: etag(p.Revision), Location: org.Issuer + providersPath + "/" + p.Name, Body: p}, nil
}

func (a *API) listProviders(ctx context.Context, _ *registry.Caller, in *Page) (*listAnswer[agentidp.RegisteredProvider], error) {
	return answerList(a.Registry.ListProviders(ctx, registry.OrganizationFrom(ctx), in.page()))
}

func (a *API) getProvider(ctx context.Context, _ *registry.Caller, in *ProviderPath) (*providerAnswer, error) {
	p, err := a.Registry.Provider(ctx, registry.OrganizationFrom(ctx), in.Name)
	switch {
	case err != nil:
		return nil, err
	case p.BuiltIn:
		return &providerAnswer{Body: p}, nil
	}
	return &providerAnswer{ETag: etag(p.Revision), Body: p}, nil
}

func (a *API) replaceProvider(ctx context.Context, c *registry.Caller, in *providerReplacement) (*providerAnswer, error) {
	if err := a.Registry.RefuseBuiltIn(in.Name); err != nil { // it has no ETag to be named
		return nil, err
	}
	revision, err := requireETag(in.IfMatch)
	if err != nil {
		return nil, err
	}
	p, err := a.Registry.ReplaceProvider(ctx, registry.OrganizationFrom(ctx), c, in.Name, revision, in.Body)
	if err != nil {
		return nil, err
	}
	return &providerAnswer{ETag: etag(p.Revision), Body: p}, nil
}

func (a *API) deleteProvider(ctx context.Context, c *registry.Caller, in *providerDeletion) (*nothing, error) {
	revision, err := parseETag(in.IfMatch)
	if err != nil {
		return nil, err
	}
	return nil, a.Registry.DeleteProvider(ctx, registry.OrganizationFrom(ctx), c, in.Name, revision)
}

func (a *API) testProvider(ctx context.Context, _ *registry.Caller, in *ProviderPath) (*providerReport, error) {
	report, err := a.Registry.TestProvider(ctx, registry.OrganizationFrom(ctx), in.Name)
	if err != nil {
		return nil, err
	}
	return &providerReport{report}, nil
}
