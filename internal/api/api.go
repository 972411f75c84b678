// Package api is the management API and the exchange under /api/v1: routes,
// request and response shapes, and the OpenAPI 3.1 document, which is generated
// from the same declarations that serve the requests.
//
// It does not own what the operations do (internal/registry, internal/audit,
// internal/exchange), what a bearer token means (internal/token) or which status
// an error has (internal/problem).
package api

import (
	"context"
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/audit"
	"github.com/sentryagent/agentidp/internal/exchange"
	"github.com/sentryagent/agentidp/internal/problem"
	"github.com/sentryagent/agentidp/internal/registry"
	"github.com/sentryagent/agentidp/internal/strictjson"
	"github.com/sentryagent/agentidp/internal/token"
)

// Config is what the API serves with.
type Config struct {
	Registry  *registry.Registry
	Exchanger *exchange.Exchanger
	Audit     *audit.Log
	Tokens    *token.Tokens
	Clock     func() time.Time
	Version   string // of the program, for the OpenAPI document
}

// API serves /api/v1.
type API struct {
	Config
	huma huma.API
	json func() (*document, error) // the OpenAPI document, rendered once
	yaml func() (*document, error)
}

// maxBody bounds every request body, in bytes (contract: the exchange's 64 KiB).
const maxBody = 64 << 10

// maxDepth bounds the nesting of a request body; the deepest documented one has
// three levels.
const maxDepth = 8

// New registers every operation on mux, with paths from the root of an
// organization. Each request's context must carry its organization
// (registry.WithOrganization).
func New(mux humago.Mux, cfg Config) *API {
	a := &API{Config: cfg}
	a.huma = humago.New(mux, humaConfig(cfg.Version))
	a.registerExchange(mux)
	a.registerPolicies()
	a.registerBacktests()
	a.registerExplain()
	a.registerProviders()
	a.registerAgents()
	a.registerCredentials()
	a.registerTokens()
	a.registerDecisions()
	a.registerEvents()
	a.registerRefusals()
	refine(a.huma.OpenAPI().Components.Schemas.Map())
	a.registerDocument(mux)
	return a
}

func humaConfig(version string) huma.Config {
	strict := huma.Format{
		Marshal: problem.Encode,
		Unmarshal: func(data []byte, v any) error {
			if err := strictjson.Valid(data, maxDepth); err != nil {
				return err
			}
			return readable(json.Unmarshal(data, v))
		},
	}
	return huma.Config{
		OpenAPI: &huma.OpenAPI{
			OpenAPI: "3.1.0",
			Info: &huma.Info{
				Title: "AgentIdP", Version: version,
				Description: "Identity provider for AI agents and CI workflows. Every path exists for the default organization at the server's root, and for any other under /o/{slug}.",
				License:     &huma.License{Name: "Apache-2.0", Identifier: "Apache-2.0"},
			},
			Servers: []*huma.Server{{URL: "/", Description: "The default organization."}},
			Components: &huma.Components{
				Schemas: newSchemas("#/components/schemas/"),
				SecuritySchemes: map[string]*huma.SecurityScheme{
					"bearer": {Type: "http", Scheme: "bearer", BearerFormat: "JWT", Description: "An access token of this organization whose aud is <issuer>/api/v1. Each operation names the scope that it needs, and the kinds of principal that it takes as x-agentidp-principals. Where it names a second scope, x-agentidp-own-scope, that one suffices for an agent whose own id is {agentId}. One that is bound to a key is presented by the scheme DPoP instead, with a proof in the header DPoP (RFC 9449)."},
				},
			},
		},
		Formats:                      map[string]huma.Format{"application/json": strict, "json": strict},
		DefaultFormat:                "application/json",
		RejectUnknownQueryParameters: true,
	}
}

// operation declares one operation: who may call it and how it may fail.
type operation struct {
	id, method, path string
	summary          string
	description      string
	tag              string
	scope            string                   // the caller must hold it
	alsoScope        string                   // and this one; "": no other
	ownScope         string                   // suffices an agent where {agentId} is its own; "": nothing else does
	principals       []agentidp.PrincipalKind // nil: admin and agent
	body             reflect.Type             // what the document says of the body; nil: there is none
	bodyOptional     bool                     // it may be left out
	media            []string                 // accepted media types of the body; nil: application/json
	parameters       []*huma.Param            // documented otherwise than they are read
	status           int                      // of success; 0: 200
	existing         string                   // what a 200 beside a 201 means; "": there is none
	failures         []int                    // beside 400, 401, 403, 429, 500 and 503, which all have
}

// register adds an operation whose caller is authenticated and authorized before
// the body is read.
func register[I, O any](a *API, op operation, handle func(context.Context, *registry.Caller, *I) (*O, error)) {
	if op.principals == nil {
		op.principals = []agentidp.PrincipalKind{agentidp.PrincipalAdmin, agentidp.PrincipalAgent}
	}
	if op.media == nil {
		op.media = []string{mediaJSON}
	}
	h := huma.Operation{
		OperationID: op.id, Method: op.method, Path: op.path, Summary: op.summary, Description: op.description,
		Tags: []string{op.tag}, DefaultStatus: op.status, Parameters: op.parameters,
		MaxBodyBytes: maxBody + 1, // huma refuses a body that fills it
		Security:     op.security(),
		Middlewares:  huma.Middlewares{a.authorize(op), checkBody(op)},
		Responses:    a.failures(append(op.failures, 400, 401, 403, 429, 500, 503)),
		Extensions:   map[string]any{"x-agentidp-principals": op.principals},
	}
	if op.ownScope != "" {
		h.Extensions["x-agentidp-own-scope"] = op.ownScope
	}
	if op.body != nil {
		h.RequestBody = &huma.RequestBody{Required: !op.bodyOptional, Content: map[string]*huma.MediaType{}}
	}
	huma.Register(a.huma, h, func(ctx context.Context, in *I) (*O, error) {
		return handle(ctx, callFrom(ctx).caller, in)
	})
	a.correct(op, &h)
}

// call is what an authorized request carries: by whom, and to what API.
type call struct {
	*API
	caller *registry.Caller
}

type callKey struct{}

func callFrom(ctx context.Context) *call {
	c, _ := ctx.Value(callKey{}).(*call)
	return c
}

// authorize is the one place that decides who may call an operation: a valid
// access token, of a kind of principal that the operation takes, with its scope.
func (a *API) authorize(op operation) func(huma.Context, func(huma.Context)) {
	return func(hc huma.Context, next func(huma.Context)) {
		r, w := humago.Unwrap(hc)
		principal, err := a.authenticate(r)
		if err == nil {
			err = op.permit(principal, hc.Param("agentId"))
		}
		if err != nil {
			problem.Write(w, r, op.asks(err))
			return
		}
		problem.SetRateLimit(w.Header(), &principal.RateLimit)
		caller := &registry.Caller{Principal: principal, RequestID: problem.RequestID(r.Context())}
		next(huma.WithValue(hc, callKey{}, &call{a, caller}))
	}
}

// security is what the document says of the scopes: each entry suffices, the second
// only as x-agentidp-own-scope says.
func (op *operation) security() []map[string][]string {
	s := []map[string][]string{{"bearer": op.scopes()}}
	if op.ownScope != "" {
		s = append(s, map[string][]string{"bearer": {op.ownScope}})
	}
	return s
}

// scopes are those that the caller must hold, all of them.
func (op *operation) scopes() []string {
	if op.alsoScope == "" {
		return []string{op.scope}
	}
	return []string{op.scope, op.alsoScope}
}

// permit returns what a principal lacks for the operation on an agent ("": on none):
// the kind, the scope or both.
func (op *operation) permit(p *agentidp.Principal, agentID string) error {
	own := op.ownScope != "" && p.Kind == agentidp.PrincipalAgent && p.AgentID == agentID
	var missing []string
	if !slices.Contains(op.principals, p.Kind) {
		missing = append(missing, "This operation is not open to a token of kind "+string(p.Kind)+": present one of kind "+kinds(op.principals)+".")
	}
	if lacks := p.Missing(op.scopes()); len(lacks) > 0 && (!own || !p.Has(op.ownScope)) {
		missing = append(missing, "The token presented lacks the scope "+strings.Join(lacks, " and the scope ")+", which this operation needs"+op.orOwn()+": get one with "+op.thatScope()+".")
	}
	if missing == nil {
		return nil
	}
	e := agentidp.NewError(agentidp.Denied, agentidp.CodeInsufficientScope, strings.Join(missing, " "))
	e.Scope = strings.Join(op.scopes(), " ")
	return e
}

// asks adds to a 401 the scope that the operation needs, so that its caller knows what
// to get a token for (RFC 6750 §3).
func (op *operation) asks(err error) error {
	e := agentidp.AsError(err)
	if e.Kind != agentidp.Unauthenticated {
		return err
	}
	asking := *e
	asking.Scope = strings.Join(op.scopes(), " ")
	return &asking
}

// thatScope says what to get a token with.
func (op *operation) thatScope() string {
	if op.alsoScope == "" {
		return "that scope"
	}
	return "both " + op.scope + " and " + op.alsoScope
}

// orOwn says what else suffices.
func (op *operation) orOwn() string {
	if op.ownScope == "" {
		return ""
	}
	return " (" + op.ownScope + " for what is the agent's own)"
}

func kinds(ks []agentidp.PrincipalKind) string {
	s := ""
	for i, k := range ks {
		if i > 0 {
			s += " or "
		}
		s += string(k)
	}
	return s
}
