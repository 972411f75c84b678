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

const policiesPath = "/api/v1/oidc/trust-policies"

// claimValues is what the document says of agentidp.ClaimValues, whose JSON is not that
// of its Go type. What is wrong with a value, the registry says better.
type claimValues struct{}

// Schema implements huma.SchemaProvider.
func (*claimValues) Schema(huma.Registry) *huma.Schema {
	one := &huma.Schema{Type: huma.TypeString}
	return &huma.Schema{OneOf: []*huma.Schema{one, {Type: huma.TypeArray, Items: one}}}
}

type policyBody struct {
	Body    agentidp.TrustPolicySpec
	RawBody []byte
}

// Resolve adds what the registry finds wrong to what the schema did, so that one
// answer names every bad field.
func (b *policyBody) Resolve(hc huma.Context) []error {
	return resolvePolicy(hc, b.RawBody)
}

func resolvePolicy(hc huma.Context, body []byte) []error {
	var spec agentidp.TrustPolicySpec
	err := json.Unmarshal(body, &spec)
	if _, ok := errors.AsType[*json.UnmarshalTypeError](err); err != nil && !ok {
		return nil // the rest of the body was not read; what the schema found is all that can be said
	}
	ctx := hc.Context()
	bad, err := callFrom(ctx).Registry.CheckPolicy(ctx, registry.OrganizationFrom(ctx), spec)
	if err != nil {
		return nil // the operation meets the same failure, and answers for it
	}
	return found("body", bad)
}

// PolicyPath names a trust policy; exported because huma looks only into exported
// embedded fields.
type PolicyPath struct {
	ID string `path:"id" maxLength:"64" doc:"The trust policy's id."`
}

type policyReplacement struct {
	PolicyPath
	IfMatch string `header:"If-Match"`
	Body    agentidp.TrustPolicySpec
	RawBody []byte
}

// Resolve is that of policyBody.
func (r *policyReplacement) Resolve(hc huma.Context) []error {
	return resolvePolicy(hc, r.RawBody)
}

type policyDeletion struct {
	PolicyPath
	IfMatch      string `header:"If-Match" doc:"Delete only this revision."`
	RevokeIssued bool   `query:"revokeIssued" doc:"End the tokens that it granted, too."`
}

type policyRepin struct {
	PolicyPath
	IfMatch string `header:"If-Match" doc:"Repin only by this revision of the policy."`
}

type policiesQuery struct {
	Page
	agentidp.PolicyFilter
}

// Resolve is that of decisionsQuery.
func (q *policiesQuery) Resolve(hc huma.Context) []error {
	errs, ctx := q.Page.Resolve(hc), hc.Context()
	bad, err := callFrom(ctx).Registry.CheckPolicyFilter(ctx, registry.OrganizationFrom(ctx), q.PolicyFilter)
	if err != nil {
		return errs // as in resolvePolicy
	}
	return append(errs, found("query", bad)...)
}

type policyAnswer struct {
	ETag     string `header:"ETag" doc:"The revision."`
	Location string `header:"Location" doc:"The trust policy's URL, on creation."`
	Body     *agentidp.TrustPolicy
}

type draftAnswer struct {
	Body *agentidp.PolicyDraft
}

type nothing struct{}

func (a *API) registerPolicies() {
	const tag = "Trust policies"
	register(a, operation{
		id: "createTrustPolicy", method: http.MethodPost, path: policiesPath, tag: tag, scope: agentidp.ScopePoliciesWrite,
		summary:     "Create a trust policy",
		description: "provider, repository, branch and agentId suffice; everything else has a safe default. A weak policy is saved with warnings.",
		body:        reflect.TypeFor[agentidp.TrustPolicySpec](),
		status:      http.StatusCreated, failures: []int{409, 413, 415},
	}, a.createPolicy)
	register(a, operation{
		id: "listTrustPolicies", method: http.MethodGet, path: policiesPath, tag: tag, scope: agentidp.ScopePoliciesRead,
		summary:     "List trust policies",
		description: "In the order of their creation, in pages. Filters combine: a policy is listed where all of them hold.",
	}, a.listPolicies)
	register(a, operation{
		id: "getTrustPolicy", method: http.MethodGet, path: policiesPath + "/{id}", tag: tag, scope: agentidp.ScopePoliciesRead,
		summary: "Read a trust policy", description: "Its ETag is what a replacement needs.", failures: []int{404},
	}, a.getPolicy)
	register(a, operation{
		id: "replaceTrustPolicy", method: http.MethodPut, path: policiesPath + "/{id}", tag: tag, scope: agentidp.ScopePoliciesWrite,
		summary:     "Replace a trust policy",
		description: "A full replacement: what is left out returns to its default. provider, repository and agentId cannot change. No exchange that begins after the answer is granted by what the policy said before.",
		body:        reflect.TypeFor[agentidp.TrustPolicySpec](),
		// The operation itself refuses its absence, with 428 rather than huma's 400.
		parameters: []*huma.Param{{Name: "If-Match", In: "header", Required: true, Description: "The ETag that was read.", Schema: &huma.Schema{Type: huma.TypeString}}},
		failures:   []int{404, 409, 412, 413, 415, 428},
	}, a.replacePolicy)
	register(a, operation{
		id: "deleteTrustPolicy", method: http.MethodDelete, path: policiesPath + "/{id}", tag: tag, scope: agentidp.ScopePoliciesWrite,
		summary:     "Delete a trust policy",
		description: "No exchange that begins after the answer is granted by it. Tokens that it granted before live on until they expire, unless revokeIssued is true: then each of them is revoked, with the deletion, in one commit.",
		status:      http.StatusNoContent, failures: []int{404, 412},
	}, a.deletePolicy)
	register(a, operation{
		id: "repinTrustPolicy", method: http.MethodPost, path: policiesPath + "/{id}/repin", tag: tag, scope: agentidp.ScopePoliciesWrite,
		summary:     "Accept a repository's next identity",
		description: "Forgets the ids to which the policy's repository is pinned, for all policies of that repository name. The next exchange that one of them grants pins anew, whichever repository of that name it comes from: where more than one could come, set repositoryId and repositoryOwnerId. It takes a caller who may create each of these policies. Where nothing is pinned, it changes nothing. There is no request body.",
		failures:    []int{404, 412, 415},
	}, a.repinPolicy)
	register(a, operation{
		id: "lintTrustPolicy", method: http.MethodPost, path: policiesPath + "/lint", tag: tag, scope: agentidp.ScopePoliciesRead,
		summary:     "Look at a trust policy before it is saved",
		description: "Answers what the policy would say if it were created now, with all defaults, and how strong it would be; or what a creation would be refused for, except the authority of the caller and a policy with the same effect. Nothing is saved.",
		body:        reflect.TypeFor[agentidp.TrustPolicySpec](),
		failures:    []int{409, 413, 415},
	}, a.lintPolicy)
}

func (a *API) createPolicy(ctx context.Context, c *registry.Caller, in *policyBody) (*policyAnswer, error) {
	org := registry.OrganizationFrom(ctx)
	p, err := a.Registry.CreatePolicy(ctx, org, c, in.Body)
	if err != nil {
		return nil, err
	}
	return &policyAnswer{ETag: etag(p.Revision), Location: org.Issuer + policiesPath + "/" + p.ID, Body: p}, nil
}

func (a *API) listPolicies(ctx context.Context, _ *registry.Caller, in *policiesQuery) (*listAnswer[agentidp.TrustPolicy], error) {
	return answerList(a.Registry.Policies(ctx, registry.OrganizationFrom(ctx), in.PolicyFilter, in.page()))
}

func (a *API) getPolicy(ctx context.Context, _ *registry.Caller, in *PolicyPath) (*policyAnswer, error) {
	p, err := a.Registry.Policy(ctx, registry.OrganizationFrom(ctx), in.ID)
	if err != nil {
		return nil, err
	}
	return &policyAnswer{ETag: etag(p.Revision), Body: p}, nil
}

func (a *API) replacePolicy(ctx context.Context, c *registry.Caller, in *policyReplacement) (*policyAnswer, error) {
	revision, err := requireETag(in.IfMatch)
	if err != nil {
		return nil, err
	}
	p, err := a.Registry.ReplacePolicy(ctx, registry.OrganizationFrom(ctx), c, in.ID, revision, in.Body)
	if err != nil {
		return nil, err
	}
	return &policyAnswer{ETag: etag(p.Revision), Body: p}, nil
}

func (a *API) deletePolicy(ctx context.Context, c *registry.Caller, in *policyDeletion) (*nothing, error) {
	revision, err := parseETag(in.IfMatch)
	if err != nil {
		return nil, err
	}
	return nil, a.Registry.DeletePolicy(ctx, registry.OrganizationFrom(ctx), c, in.ID, revision, in.RevokeIssued)
}

func (a *API) repinPolicy(ctx context.Context, c *registry.Caller, in *policyRepin) (*policyAnswer, error) {
	revision, err := parseETag(in.IfMatch)
	if err != nil {
		return nil, err
	}
	p, err := a.Registry.Repin(ctx, registry.OrganizationFrom(ctx), c, in.ID, revision)
	if err != nil {
		return nil, err
	}
	return &policyAnswer{ETag: etag(p.Revision), Body: p}, nil
}

func (a *API) lintPolicy(ctx context.Context, _ *registry.Caller, in *policyBody) (*draftAnswer, error) {
	draft, err := a.Registry.LintPolicy(ctx, registry.OrganizationFrom(ctx), in.Body)
	if err != nil {
		return nil, err
	}
	return &draftAnswer{Body: draft}, nil
}
