package api

import (
	"context"
	"net/http"
	"reflect"
	"slices"

	"github.com/danielgtaylor/huma/v2"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/registry"
	"github.com/sentryagent/agentidp/internal/strictjson"
)

const agentsPath = "/api/v1/agents"

type agentBody struct {
	Body    agentidp.AgentSpec
	RawBody []byte
}

// Resolve adds what the registry finds wrong, and what a bootstrap token may not
// say, to what the schema did, so that one answer names every bad field.
func (b *agentBody) Resolve(hc huma.Context) []error {
	bad := registry.CheckAgent(b.Body)
	if callFrom(hc.Context()).caller.Kind == agentidp.PrincipalBootstrap {
		bad = append(bad, beyondBootstrap(b.RawBody)...)
	}
	return found("body", bad)
}

// AgentPath names an agent; exported because huma looks only into exported
// embedded fields.
type AgentPath struct {
	AgentID string `path:"agentId" maxLength:"64" doc:"The agent's id."`
}

type agentPatch struct {
	AgentPath
	IfMatch string `header:"If-Match" doc:"Change only this revision."`
	RawBody []byte
}

// agentChange documents a merge patch, in which null and absence differ.
type agentChange struct {
	Description   *string            `json:"description,omitempty" nullable:"true" maxLength:"1000"`
	AgentType     *string            `json:"agentType,omitempty" nullable:"true" enum:"screener,classifier,orchestrator,extractor,summarizer,router,monitor,custom"`
	Version       *string            `json:"version,omitempty" nullable:"true" maxLength:"100"`
	Capabilities  []string           `json:"capabilities,omitempty" nullable:"true" maxItems:"100" doc:"Replaces the list."`
	Audiences     []string           `json:"audiences,omitempty" nullable:"true" maxItems:"20" doc:"Replaces the list; null: the issuer."`
	MayDelegateTo []string           `json:"mayDelegateTo,omitempty" nullable:"true" maxItems:"100" doc:"Replaces the list; null: nobody. Only admin adds to it."`
	Owner         *string            `json:"owner,omitempty" nullable:"true" maxLength:"254"`
	DeploymentEnv *string            `json:"deploymentEnv,omitempty" nullable:"true" enum:"development,staging,production"`
	Labels        map[string]*string `json:"labels,omitempty" nullable:"true" doc:"Merged by name; null removes one, or all."`
}

type agentDeletion struct {
	AgentPath
	IfMatch string `header:"If-Match" doc:"Decommission only this revision."`
}

type agentsQuery struct {
	Page
	agentidp.AgentFilter
}

// Resolve is that of decisionsQuery.
func (q *agentsQuery) Resolve(hc huma.Context) []error {
	return append(q.Page.Resolve(hc), found("query", registry.CheckAgentFilter(q.AgentFilter))...)
}

type agentAnswer struct {
	Status   int
	ETag     string `header:"ETag" doc:"The revision."`
	Location string `header:"Location" doc:"The agent's URL, on registration."`
	Body     *agentidp.Agent
}

// bootstrapMembers are all that a bootstrap token may say about an agent.
var bootstrapMembers = []string{"name", "description", "agentType", "version"}

func (a *API) registerAgents() {
	const tag = "Agents"
	register(a, operation{
		id: "registerAgent", method: http.MethodPost, path: agentsPath, tag: tag, scope: agentidp.ScopeAgentsWrite,
		principals:  []agentidp.PrincipalKind{agentidp.PrincipalAdmin, agentidp.PrincipalAgent, agentidp.PrincipalBootstrap},
		summary:     "Register an agent",
		description: "With a bootstrap token: name, description, agentType and version alone; the same name from the same repository (where there is none, the same subject) again answers 200 with the existing agent.",
		body:        reflect.TypeFor[agentidp.AgentSpec](),
		status:      http.StatusCreated, existing: "The agent that a bootstrap token of the same repository or subject registered under this name before, unchanged.",
		failures: []int{409, 413, 415},
	}, a.createAgent)
	register(a, operation{
		id: "listAgents", method: http.MethodGet, path: agentsPath, tag: tag, scope: agentidp.ScopeAgentsRead,
		summary:     "List agents",
		description: "In the order of their registration, in pages. Filters combine: an agent is listed where all of them hold.",
	}, a.listAgents)
	register(a, operation{
		id: "getAgent", method: http.MethodGet, path: agentsPath + "/{agentId}", tag: tag, scope: agentidp.ScopeAgentsRead,
		summary: "Read an agent", failures: []int{404},
	}, a.getAgent)
	register(a, operation{
		id: "updateAgent", method: http.MethodPatch, path: agentsPath + "/{agentId}", tag: tag, scope: agentidp.ScopeAgentsWrite,
		summary:     "Change an agent",
		description: "A JSON merge patch (RFC 7396) of description, agentType, version, capabilities, audiences, mayDelegateTo, owner, deploymentEnv and labels; null removes. application/json is accepted too.",
		body:        reflect.TypeFor[agentChange](),
		media:       []string{mediaMergePatch, mediaJSON}, failures: []int{404, 409, 412, 413, 415},
	}, a.updateAgent)
	register(a, operation{
		id: "suspendAgent", method: http.MethodPost, path: agentsPath + "/{agentId}/suspend", tag: tag, scope: agentidp.ScopeAgentsWrite,
		summary: "Suspend an agent", description: "No exchange that begins after the answer gets a token for it.", failures: []int{404, 409, 415},
	}, a.suspendAgent)
	register(a, operation{
		id: "reactivateAgent", method: http.MethodPost, path: agentsPath + "/{agentId}/reactivate", tag: tag, scope: agentidp.ScopeAgentsWrite,
		summary: "Reactivate a suspended agent", description: "It gives authority back, so the caller must hold the agent's capabilities.", failures: []int{404, 409, 415},
	}, a.reactivateAgent)
	register(a, operation{
		id: "decommissionAgent", method: http.MethodDelete, path: agentsPath + "/{agentId}", tag: tag, scope: agentidp.ScopeAgentsWrite,
		summary: "Decommission an agent", description: "Final: the record stays, and its name stays taken. No exchange that begins after the answer gets a token for it.",
		status: http.StatusNoContent, failures: []int{404, 412},
	}, a.decommissionAgent)
}

func (a *API) createAgent(ctx context.Context, c *registry.Caller, in *agentBody) (*agentAnswer, error) {
	org := registry.OrganizationFrom(ctx)
	if c.Kind != agentidp.PrincipalBootstrap {
		agent, err := a.Registry.CreateAgent(ctx, org, c, in.Body)
		return answerAgent(org, agent, true, err)
	}
	agent, created, err := a.Registry.RegisterAgent(ctx, org, c, in.Body)
	return answerAgent(org, agent, created, err)
}

// beyondBootstrap returns what a workflow may not say about the agent that it
// registers, whatever the value: capabilities, owner and the like are an
// administrator's to give.
func beyondBootstrap(body []byte) (bad []agentidp.FieldError) {
	err := strictjson.Members(body, maxDepth, func(name string, _ []byte) error {
		if !slices.Contains(bootstrapMembers, name) {
			bad = append(bad, agentidp.FieldError{Field: name, Reason: "cannot be set with a bootstrap token; an administrator sets it afterwards"})
		}
		return nil
	})
	if err != nil {
		return []agentidp.FieldError{{Field: "body", Reason: "is not acceptable JSON: " + err.Error()}}
	}
	return bad
}

func answerAgent(org *agentidp.Organization, agent *agentidp.Agent, created bool, err error) (*agentAnswer, error) {
	if err != nil {
		return nil, err
	}
	out := &agentAnswer{Status: http.StatusOK, ETag: etag(agent.Revision), Body: agent}
	if created {
		out.Status, out.Location = http.StatusCreated, org.Issuer+agentsPath+"/"+agent.AgentID
	}
	return out, nil
}

func (a *API) listAgents(ctx context.Context, _ *registry.Caller, in *agentsQuery) (*listAnswer[agentidp.Agent], error) {
	return answerList(a.Registry.Agents(ctx, registry.OrganizationFrom(ctx), in.AgentFilter, in.page()))
}

func (a *API) getAgent(ctx context.Context, _ *registry.Caller, in *AgentPath) (*agentAnswer, error) {
	org := registry.OrganizationFrom(ctx)
	agent, err := a.Registry.Agent(ctx, org, in.AgentID)
	return answerAgent(org, agent, false, err)
}

func (a *API) updateAgent(ctx context.Context, c *registry.Caller, in *agentPatch) (*agentAnswer, error) {
	org := registry.OrganizationFrom(ctx)
	revision, err := parseETag(in.IfMatch)
	if err != nil {
		return nil, err
	}
	if err := strictjson.Valid(in.RawBody, maxDepth); err != nil {
		return nil, agentidp.InvalidFields(agentidp.FieldError{Field: "body", Reason: "is not acceptable JSON: " + err.Error()})
	}
	agent, err := a.Registry.UpdateAgent(ctx, org, c, in.AgentID, revision, in.RawBody)
	return answerAgent(org, agent, false, err)
}

func (a *API) suspendAgent(ctx context.Context, c *registry.Caller, in *AgentPath) (*agentAnswer, error) {
	org := registry.OrganizationFrom(ctx)
	agent, err := a.Registry.SuspendAgent(ctx, org, c, in.AgentID)
	return answerAgent(org, agent, false, err)
}

func (a *API) reactivateAgent(ctx context.Context, c *registry.Caller, in *AgentPath) (*agentAnswer, error) {
	org := registry.OrganizationFrom(ctx)
	agent, err := a.Registry.ReactivateAgent(ctx, org, c, in.AgentID)
	return answerAgent(org, agent, false, err)
}

func (a *API) decommissionAgent(ctx context.Context, c *registry.Caller, in *agentDeletion) (*nothing, error) {
	revision, err := parseETag(in.IfMatch)
	if err != nil {
		return nil, err
	}
	return nil, a.Registry.DecommissionAgent(ctx, registry.OrganizationFrom(ctx), c, in.AgentID, revision)
}
