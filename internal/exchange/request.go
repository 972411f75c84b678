package exchange

import (
	"cmp"
	"slices"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/policy"
)

// Request asks for an exchange.
type Request struct {
	Token    string // the subject token; never logged
	AgentID  string // empty: bootstrap mode
	Scope    string // space-separated, empty: all that the policy allows
	Audience string // empty: the policy's first
	// Bad are the field errors that were found while decoding. An empty string is
	// one: an empty agentId must not turn a request for one agent into a bootstrap
	// request.
	Bad       []agentidp.FieldError
	Names     Names // of the fields at the door that the request came through
	RequestID string

	// Proof, where there is one, is that of a key to which the token will be bound (RFC
	// 9449 §5); nil: a bearer token.
	Proof     *agentidp.Proof
	GrantType string // as the decision records it; empty: agentidp.GrantTokenExchange

	limit    agentidp.RateLimit // where its repository stands
	provider string             // whose issuer the token names, once that is known
	counted  bool               // against the limit of its agent
	used     bool               // Proof is used up, by this request
}

// Names are what the fields of a request are called where it came from; empty: as the
// native endpoint calls them.
type Names struct{ Token, AgentID, Audience string }

const (
	maxAgentID = 64
	maxScope   = 2048
)

// check refuses a request for what it says itself. An agentId of any spelling is
// let through: one that is not an id matches no policy, and the answer to that
// must not differ from the answer to an unknown one.
func (r *Request) check() ([]string, error) {
	bad := slices.Clone(r.Bad)
	if r.Token == "" && !slices.ContainsFunc(bad, func(e agentidp.FieldError) bool { return e.Field == "token" }) {
		bad = append(bad, agentidp.FieldError{Field: cmp.Or(r.Names.Token, "token"), Reason: "is required: the OIDC ID token of the workflow run"})
	}
	if len(r.AgentID) > maxAgentID {
		bad = append(bad, agentidp.FieldError{Field: cmp.Or(r.Names.AgentID, "agentId"), Reason: "is not an agent's id (a UUID)"})
	}
	if len(bad) > 0 {
		return nil, agentidp.InvalidFields(bad...)
	}
	scopes, ok := agentidp.ParseScope(r.Scope)
	if !ok || len(r.Scope) > maxScope {
		return nil, refuse(agentidp.CodeInvalidScope, "scope", "must be scopes such as deploy:production, separated by single spaces, none twice, 2048 bytes at most (RFC 6749 §3.3)")
	}
	if r.Audience != "" && !policy.IsAudience(r.Audience) {
		return nil, refuse(agentidp.CodeInvalidTarget, cmp.Or(r.Names.Audience, "audience"), "must be one absolute URI without a fragment, such as https://deploy.example.com, 255 bytes at most (RFC 8707 §2)")
	}
	return scopes, nil
}

func refuse(code, field, reason string) error {
	return &agentidp.Error{Kind: agentidp.Invalid, Code: code, Message: field + " " + reason + ".",
		Details: []agentidp.FieldError{{Field: field, Reason: reason}}}
}
