package api

import (
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/problem"
)

// schemaNames are what the OpenAPI document calls types whose Go names would not
// tell its reader. Bodies of requests, and they alone, end in Request or Patch.
var schemaNames = map[reflect.Type]string{
	reflect.TypeFor[exchangeBody]():                      "ExchangeRequest",
	reflect.TypeFor[agentidp.TokenResponse]():            "ExchangeResponse",
	reflect.TypeFor[problem.Document]():                  "Problem",
	reflect.TypeFor[agentidp.TrustPolicySpec]():          "TrustPolicyRequest",
	reflect.TypeFor[list[agentidp.TrustPolicy]]():        "TrustPolicyList",
	reflect.TypeFor[agentidp.PolicyDraft]():              "TrustPolicyDraft",
	reflect.TypeFor[draftBacktest]():                     "DraftBacktestRequest",
	reflect.TypeFor[agentidp.ProviderSpec]():             "ProviderRequest",
	reflect.TypeFor[agentidp.RegisteredProvider]():       "Provider",
	reflect.TypeFor[list[agentidp.RegisteredProvider]](): "ProviderList",
	reflect.TypeFor[agentidp.AgentSpec]():                "AgentRequest",
	reflect.TypeFor[agentChange]():                       "AgentPatch",
	reflect.TypeFor[list[agentidp.Agent]]():              "AgentList",
	reflect.TypeFor[agentidp.CredentialSpec]():           "CredentialRequest",
	reflect.TypeFor[credentialRotation]():                "CredentialRotationRequest",
	reflect.TypeFor[list[agentidp.Credential]]():         "CredentialList",
	reflect.TypeFor[agentidp.TokenSelection]():           "TokenRevocationRequest",
	reflect.TypeFor[revocation]():                        "TokenRevocation",
	reflect.TypeFor[list[agentidp.Decision]]():           "DecisionList",
	reflect.TypeFor[list[agentidp.Event]]():              "EventList",
}

// newSchemas returns a registry of schemas, which refer to each other below a prefix.
func newSchemas(prefix string) huma.Registry {
	schemas := huma.NewMapRegistry(prefix, schemaName)
	schemas.RegisterTypeAlias(reflect.TypeFor[agentidp.ClaimValues](), reflect.TypeFor[claimValues]())
	return schemas
}

func schemaName(t reflect.Type, hint string) string {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if name, ok := schemaNames[t]; ok {
		return name
	}
	return huma.DefaultSchemaNamer(t, hint)
}

// uuids are the members of responses that hold an id of ours. Requests do not
// say so: a wrong id there is like one that does not exist.
var uuids = []string{"id", "agentId", "credentialId", "clientId", "policyId", "tokenId", "decisionId", "requestId", "agent_id", "decision_id", "request_id"}

// quoted are those that hold what an exchange asked for, whatever that was.
var quoted = []string{"Decision.agentId", "Event.agentId"}

// refine says in the schemas what struct tags cannot. A response may gain members
// that its reader does not know yet, while a request with unknown members is
// refused; and null is among the values of a nullable enumeration.
func refine(schemas map[string]*huma.Schema) {
	for name, schema := range schemas {
		response := !strings.HasSuffix(name, "Request") && !strings.HasSuffix(name, "Patch")
		if response {
			schema.AdditionalProperties = nil
		}
		for member, s := range schema.Properties {
			if response && slices.Contains(uuids, member) && !slices.Contains(quoted, name+"."+member) {
				s.Format = "uuid"
			}
			if strings.HasSuffix(name, "Request") && s.Ref == "" && !slices.Contains(schema.Required, member) {
				s.Nullable = true
			}
			if member == "jwks" || name == "ExplainRequest" && member == "claims" { // a json.RawMessage, which could be anything
				s.Type = huma.TypeObject
			}
			if s.Nullable && s.Enum != nil {
				s.Enum = append(s.Enum, nil)
			}
		}
	}
}

// correct documents what huma cannot know of an operation that it has registered:
// the media types of a body that is read raw, and whether it may be left out, the 200 beside a 201, and that
// Location comes with 201 alone.
func (a *API) correct(op operation, h *huma.Operation) {
	if op.body != nil {
		h.RequestBody.Required = !op.bodyOptional // whatever huma makes of an input that keeps the raw body
		clear(h.RequestBody.Content)
		for _, media := range op.media {
			h.RequestBody.Content[media] = &huma.MediaType{Schema: a.huma.OpenAPI().Components.Schemas.Schema(op.body, true, "")}
		}
	}
	if created, ok := h.Responses[strconv.Itoa(http.StatusCreated)]; ok && op.existing != "" {
		existing := *created
		existing.Description, existing.Headers = op.existing, maps.Clone(created.Headers)
		h.Responses[strconv.Itoa(http.StatusOK)] = &existing
	}
	if ok := h.Responses[strconv.Itoa(http.StatusOK)]; ok != nil {
		delete(ok.Headers, "Location")
	}
}

// failures documents the statuses that an operation may fail with.
func (a *API) failures(statuses []int) map[string]*huma.Response {
	schema := a.huma.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[problem.Document](), true, "")
	responses := map[string]*huma.Response{}
	for _, status := range statuses {
		responses[strconv.Itoa(status)] = &huma.Response{
			Description: http.StatusText(status),
			Content:     map[string]*huma.MediaType{problem.ContentType: {Schema: schema}},
		}
	}
	return responses
}
