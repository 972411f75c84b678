package api

import (
	"context"
	"net/http"
	"reflect"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/registry"
)

const credentialsPath = agentsPath + "/{agentId}/credentials"

type credentialBody struct {
	AgentPath
	Body agentidp.CredentialSpec
}

// Resolve is that of agentBody.
func (b *credentialBody) Resolve(hc huma.Context) []error {
	return found("body", callFrom(hc.Context()).Registry.CheckCredential(b.Body))
}

// CredentialPath names a credential of an agent; exported because huma looks only into
// exported embedded fields.
type CredentialPath struct {
	AgentPath
	CredentialID string `path:"credentialId" maxLength:"64" doc:"The credential's id."`
}

type credentialsQuery struct {
	AgentPath
	Page
}

// credentialRotation says how a secret is replaced.
type credentialRotation struct {
	GraceSeconds int `json:"graceSeconds,omitempty" minimum:"0" maximum:"2592000" doc:"How long the old secret works beside the new one. Default 0: it ends at once."`
}

type credentialRotationBody struct {
	CredentialPath
	Body *credentialRotation
}

type credentialAnswer struct {
	Location string `header:"Location" doc:"The credential's URL."`
	Body     *agentidp.CreatedCredential
}

type credentialRead struct {
	Body *agentidp.Credential
}

func (a *API) registerCredentials() {
	const tag = "Credentials"
	register(a, operation{
		id: "createCredential", method: http.MethodPost, path: credentialsPath, tag: tag,
		scope: agentidp.ScopeAgentsWrite, ownScope: agentidp.ScopeCredentialsSelf,
		summary: "Create a credential of an agent",
		description: "With it the agent gets tokens at the token endpoint, as the OAuth client that its id names. A secret is in this answer and nowhere else. " +
			"It gives whatever the agent may do, or of that what scopes name, so the caller must hold the agent's capabilities; for one who is not admin and names none, they are its capabilities of now. An agent that creates one of its own must present a token with all of them.",
		body:   reflect.TypeFor[agentidp.CredentialSpec](),
		status: http.StatusCreated, failures: []int{404, 409, 413, 415},
	}, a.createCredential)
	register(a, operation{
		id: "listCredentials", method: http.MethodGet, path: credentialsPath, tag: tag,
		scope: agentidp.ScopeAgentsRead, ownScope: agentidp.ScopeCredentialsSelf,
		summary:     "List the credentials of an agent",
		description: "In the order of their creation, in pages; those that have ended, too. Without secrets, which are not stored.",
		failures:    []int{404},
	}, a.listCredentials)
	register(a, operation{
		id: "getCredential", method: http.MethodGet, path: credentialsPath + "/{credentialId}", tag: tag,
		scope: agentidp.ScopeAgentsRead, ownScope: agentidp.ScopeCredentialsSelf,
		summary:     "Read a credential",
		description: "Also one that has ended, for a time. Without the secret, which is not stored.",
		failures:    []int{404},
	}, a.getCredential)
	register(a, operation{
		id: "rotateCredential", method: http.MethodPost, path: credentialsPath + "/{credentialId}/rotate", tag: tag,
		scope: agentidp.ScopeAgentsWrite, ownScope: agentidp.ScopeCredentialsSelf,
		summary: "Replace a secret",
		description: "Creates another secret in its place, which is in this answer and nowhere else, with the same description, scopes and length of life; for a caller who is not admin without scopes that the agent has not now, unless its token was got with the old one. The old one ends at once, or after graceSeconds. " +
			"What has ended cannot be rotated. Public keys are replaced by creating a credential and deleting the old one. It takes the authority of a creation.",
		body: reflect.TypeFor[credentialRotation](), bodyOptional: true,
		status: http.StatusCreated, failures: []int{404, 409, 413, 415},
	}, a.rotateCredential)
	register(a, operation{
		id: "deleteCredential", method: http.MethodDelete, path: credentialsPath + "/{credentialId}", tag: tag,
		scope: agentidp.ScopeAgentsWrite, ownScope: agentidp.ScopeCredentialsSelf,
		summary:     "End a credential",
		description: "At once and for good: nothing is issued to it after the answer. Its record stays for a time. Tokens that were got with it live on until they expire; those of the agent are revoked with POST /api/v1/tokens/revoke.",
		status:      http.StatusNoContent, failures: []int{404},
	}, a.deleteCredential)
}

func (a *API) createCredential(ctx context.Context, c *registry.Caller, in *credentialBody) (*credentialAnswer, error) {
	org := registry.OrganizationFrom(ctx)
	created, err := a.Registry.CreateCredential(ctx, org, c, in.AgentID, in.Body)
	return answerCredential(org, created, err)
}

func (a *API) rotateCredential(ctx context.Context, c *registry.Caller, in *credentialRotationBody) (*credentialAnswer, error) {
	var grace time.Duration
	if in.Body != nil {
		grace = time.Duration(in.Body.GraceSeconds) * time.Second
	}
	org := registry.OrganizationFrom(ctx)
	created, err := a.Registry.RotateCredential(ctx, org, c, in.AgentID, in.CredentialID, grace)
	return answerCredential(org, created, err)
}

func answerCredential(org *agentidp.Organization, created *agentidp.CreatedCredential, err error) (*credentialAnswer, error) {
	if err != nil {
		return nil, err
	}
	return &credentialAnswer{Location: org.Issuer + agentsPath + "/" + created.AgentID + "/credentials/" + created.CredentialID, Body: created}, nil
}

func (a *API) listCredentials(ctx context.Context, _ *registry.Caller, in *credentialsQuery) (*listAnswer[agentidp.Credential], error) {
	return answerList(a.Registry.Credentials(ctx, registry.OrganizationFrom(ctx), in.AgentID, in.page()))
}

func (a *API) getCredential(ctx context.Context, _ *registry.Caller, in *CredentialPath) (*credentialRead, error) {
	c, err := a.Registry.Credential(ctx, registry.OrganizationFrom(ctx), in.AgentID, in.CredentialID)
	return &credentialRead{Body: c}, err
}

func (a *API) deleteCredential(ctx context.Context, c *registry.Caller, in *CredentialPath) (*nothing, error) {
	return nil, a.Registry.RevokeCredential(ctx, registry.OrganizationFrom(ctx), c, in.AgentID, in.CredentialID)
}
