package api

import (
	"bytes"
	"errors"
	"net/http"
	"reflect"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/dpop"
	"github.com/sentryagent/agentidp/internal/exchange"
	"github.com/sentryagent/agentidp/internal/problem"
	"github.com/sentryagent/agentidp/internal/registry"
	"github.com/sentryagent/agentidp/internal/strictjson"
)

// ExchangePath is where exchanges come in.
const ExchangePath = "/api/v1/oidc/token"

// exchangeBody documents the body of an exchange. The hot path does not decode
// into it: decodeExchange reads the same members without reflection.
type exchangeBody struct {
	Token    string `json:"token" minLength:"1" doc:"The OIDC ID token of the workflow run, requested for the audience <issuer>."`
	AgentID  string `json:"agentId,omitempty" minLength:"1" doc:"The agent's id as its registration answered it: a UUID in lower case. Any other spelling is answered like an agent that does not exist. Absent: a bootstrap token, good only to register agents."`
	Scope    string `json:"scope,omitempty" minLength:"1" doc:"Space-separated. Absent: all that the policy allows."`
	Audience string `json:"audience,omitempty" minLength:"1" format:"uri" doc:"The service that the token is for. Absent: the policy's first."`
}

// registerExchange serves the exchange on plain net/http, beside huma: it is the
// hot path, and its caller is authenticated by the body itself.
func (a *API) registerExchange(mux humago.Mux) {
	mux.HandleFunc("POST "+ExchangePath, a.exchange)

	schemas := a.huma.OpenAPI().Components.Schemas
	responses := a.failures([]int{400, 401, 403, 413, 415, 429, 500, 503})
	responses["200"] = &huma.Response{
		Description: "The access token.",
		Content:     map[string]*huma.MediaType{mediaJSON: {Schema: schemas.Schema(reflect.TypeFor[agentidp.TokenResponse](), true, "")}},
	}
	a.huma.OpenAPI().AddOperation(&huma.Operation{
		OperationID: "exchangeToken", Method: http.MethodPost, Path: ExchangePath, Tags: []string{"Exchange"},
		Summary:     "Exchange a subject token for an access token",
		Description: "The subject token is the authentication. It is good for one exchange; get a fresh one for every attempt. With agentId the access token is that agent's; without, it is good only to register agents.",
		Security:    []map[string][]string{},
		Parameters: []*huma.Param{{
			Name: "DPoP", In: "header", Schema: &huma.Schema{Type: huma.TypeString},
			Description: "A proof of possession (RFC 9449): the access token will be bound to its key. With a fresh proof by the same key an exchange may be repeated within 60 seconds, and is answered with the same token.",
		}},
		RequestBody: &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{
			mediaJSON: {Schema: schemas.Schema(reflect.TypeFor[exchangeBody](), true, "")},
		}},
		Responses: responses,
	})
}

func (a *API) exchange(w http.ResponseWriter, r *http.Request) {
	req := &exchange.Request{RequestID: problem.RequestID(r.Context())}
	err := acceptable(r, []string{mediaJSON})
	if err == nil && r.URL.RawQuery != "" { // RFC 6750 §2.3: a token in a URL ends up in logs
		err = agentidp.InvalidFields(agentidp.FieldError{Field: "query", Reason: "is not read here; send everything in the body"})
	}
	if err == nil {
		err = readExchange(w, r, req)
	}
	org := registry.OrganizationFrom(r.Context())
	if err == nil {
		req.Proof, err = dpop.OfRequest(r, org.Issuer+ExchangePath, a.Clock())
	}
	if err != nil {
		problem.Write(w, r, err)
		return
	}
	resp, err := a.Exchanger.Exchange(r.Context(), org, req)
	if err != nil {
		problem.Write(w, r, err)
		return
	}
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("Pragma", "no-cache") // RFC 6749 §5.1
	h.Set("Content-Type", mediaJSON)
	problem.SetRateLimit(h, &resp.RateLimit)
	_ = problem.Encode(w, resp) // the client left; the record stands
}

func readExchange(w http.ResponseWriter, r *http.Request, req *exchange.Request) error {
	if r.ContentLength > maxBody {
		return tooLarge()
	}
	var body bytes.Buffer
	// Room to see the end without growing again, but no more than this on the word
	// of a client that has sent nothing yet.
	const most = 4 << 10
	body.Grow(int(min(max(r.ContentLength, 0)+bytes.MinRead, most)))
	_, err := body.ReadFrom(http.MaxBytesReader(w, r.Body, maxBody))
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return tooLarge()
	}
	if err != nil {
		return agentidp.InvalidFields(agentidp.FieldError{Field: "body", Reason: "could not be read"})
	}
	return decodeExchange(body.Bytes(), req)
}

// decodeExchange reads the members of an exchange's body. null is absence; an
// empty string is not. Members that are wrong are left for the exchange to refuse,
// together with what it finds.
func decodeExchange(body []byte, req *exchange.Request) error {
	targets := map[string]*string{"token": &req.Token, "agentId": &req.AgentID, "scope": &req.Scope, "audience": &req.Audience}
	bad := func(name, reason string) { req.Bad = append(req.Bad, agentidp.FieldError{Field: name, Reason: reason}) }
	err := strictjson.Members(body, maxDepth, func(name string, value []byte) error {
		target, known := targets[name]
		switch {
		case !known:
			bad(printable(name), "is not a member of this request")
		case string(value) == "null":
		case value[0] != '"':
			bad(name, "must be a string")
		default:
			s, err := strictjson.String(value)
			if err != nil {
				return err
			}
			if s == "" {
				bad(name, "is empty; leave it out or give a value")
			}
			*target = s
		}
		return nil
	})
	if err != nil {
		return agentidp.InvalidFields(agentidp.FieldError{Field: "body", Reason: "is not acceptable JSON: " + err.Error()})
	}
	return nil
}

// printable shortens an unknown member's name to what may be repeated in an
// answer.
func printable(name string) string {
	const limit = 40
	for i, r := range name {
		if i >= limit || r < ' ' || r > '~' {
			return "(a member that this request does not have)"
		}
	}
	return name
}
