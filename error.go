package agentidp

import (
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Kind says what sort of failure an Error is. Only internal/problem knows which
// HTTP status a kind becomes.
type Kind int

// The zero Kind is Internal, so an error whose kind was forgotten tells its
// caller nothing.
const (
	Internal             Kind = iota // a fault of ours; its cause is logged, never shown
	Invalid                          // the request is wrong, and says where
	Unauthenticated                  // no acceptable credential
	Denied                           // an acceptable credential without the right
	NotFound                         // no such thing in this organization
	MethodNotAllowed                 // the thing exists, the method does not
	Conflict                         // contradicts what is stored
	Stale                            // If-Match names a revision that has passed
	PreconditionRequired             // If-Match is required and absent
	TooLarge                         // over a size limit
	UnsupportedMedia                 // a media type that is not understood
	TooMany                          // over a rate limit
	Unavailable                      // cannot be decided now; never means "allow"
)

// Codes of errors. They are stable for ever; a client may switch on them.
const (
	CodeInternal       = "internal_error"
	CodeInvalidRequest = "invalid_request"
	CodeInvalidToken   = "invalid_token"

	// CodeAuthenticationRequired is a 401 to a request that presented nothing.
	CodeAuthenticationRequired = "authentication_required"
	// CodeInvalidClient is a 401 to a client whose authentication failed.
	CodeInvalidClient          = "invalid_client"
	CodeUnauthorizedClient     = "unauthorized_client"
	CodeUnsupportedGrantType   = "unsupported_grant_type"
	CodeUnsupportedTokenType   = "unsupported_token_type"
	CodeInvalidDPoPProof       = "invalid_dpop_proof"
	CodeDelegationNotPermitted = "delegation_not_permitted"
	CodeInsufficientScope      = "insufficient_scope"
	CodeCrossSiteRequest       = "cross_site_request"
	CodeNotFound               = "not_found"
	CodeMethodNotAllowed       = "method_not_allowed"
	CodePreconditionFailed     = "precondition_failed"
	CodePreconditionRequired   = "precondition_required"
	CodePayloadTooLarge        = "payload_too_large"
	CodeUnsupportedMediaType   = "unsupported_media_type"
	CodeRateLimited            = "rate_limited"

	CodeTrustPolicyViolation      = "trust_policy_violation"
	CodeBranchNotPermitted        = "branch_not_permitted"
	CodeEventNotPermitted         = "event_not_permitted"
	CodeConditionNotMet           = "condition_not_met"
	CodeRepositoryIdentityChanged = "repository_identity_changed"
	CodeAgentNotActive            = "agent_not_active"
	CodeInvalidScope              = "invalid_scope"
	CodeInvalidTarget             = "invalid_target"
	CodeIssuerUnreachable         = "issuer_unreachable"
	CodeTemporarilyUnavailable    = "temporarily_unavailable"

	CodePolicyExists           = "policy_exists"
	CodePolicyLimitReached     = "policy_limit_reached"
	CodePinConflict            = "pin_conflict"
	CodeAgentLimitReached      = "agent_limit_reached"
	CodeAgentNameNotPermitted  = "agent_name_not_permitted"
	CodeAgentNameTaken         = "agent_name_taken"
	CodeAgentDecommissioned    = "agent_decommissioned"
	CodeCredentialLimitReached = "credential_limit_reached"
	CodeOrganizationExists     = "organization_exists"
	CodeProviderExists         = "provider_exists"
	CodeProviderInUse          = "provider_in_use"
	CodeProviderBuiltIn        = "provider_built_in"
)

// Reasons refine CodeInvalidToken, and only after the subject token's signature
// is proven: before that, every refusal looks the same.
const (
	ReasonAudienceMismatch = "audience_mismatch"
	ReasonTokenExpired     = "token_expired"
	ReasonTokenNotYetValid = "token_not_yet_valid"
	ReasonTokenTooOld      = "token_too_old"
	ReasonTokenReplayed    = "token_replayed"
	ReasonClaimInvalid     = "claim_invalid"
)

// FieldError names one field of a request, what is wrong with it and what to do.
// Field is a JSON path such as "repository" or "events[1]".
type FieldError struct {
	Field  string `json:"field"`
	Reason string `json:"reason"`
}

// FieldErrors gathers what is wrong with a request, so that one answer names every
// bad field. A value that was not given is never wrong.
type FieldErrors []FieldError

// Refuse adds a field.
func (f *FieldErrors) Refuse(field, reason string) {
	*f = append(*f, FieldError{Field: field, Reason: reason})
}

// ID refuses what is not an id.
func (f *FieldErrors) ID(field, value string) {
	if value != "" && !IsID(value) {
		f.Refuse(field, "is not an id; give the UUID in lower case")
	}
}

// OneOf refuses a value that is none of all.
func OneOf[T ~string](f *FieldErrors, field string, value T, all ...T) {
	if value != "" && !slices.Contains(all, value) {
		words := make([]string, len(all))
		for i, word := range all {
			words[i] = string(word)
		}
		f.Refuse(field, "must be one of: "+strings.Join(words, ", "))
	}
}

// Error is a failure as its caller may see it, with a private cause. Message and
// Details are public: they hold no secret, no token and nothing of another
// tenant. The cause is for the log alone.
type Error struct {
	Kind    Kind
	Code    string
	Message string // a sentence, with the remedy where there is one
	Details []FieldError

	Reason     string            // refines invalid_token, see the Reason constants
	Claims     map[string]string // the caller's own claims that the failed check read
	DecisionID string            // the durable record of a refused exchange
	RetryAfter time.Duration     // when trying again makes sense; 0: unknown
	RateLimit  *RateLimit        // the limit that was reached, for rate_limited
	Scope      string            // the scope that is needed, for insufficient_scope and at an operation of the API
	Scheme     string            // by which the access token was or must be presented; empty: Bearer

	cause error
}

// NewError returns an Error without a cause.
func NewError(kind Kind, code, message string) *Error {
	return &Error{Kind: kind, Code: code, Message: message}
}

// WithCause returns a copy of e with a private cause, for the log and errors.Is.
func (e *Error) WithCause(cause error) *Error {
	c := *e
	c.cause = cause
	return &c
}

// Error gives the public message and then the private cause: for logs, not for
// callers.
func (e *Error) Error() string {
	s := e.Code
	if e.Message != "" {
		s += ": " + e.Message
	}
	if len(e.Details) > 1 { // the message says all about one
		for _, d := range e.Details {
			s += "; " + d.Field + ": " + d.Reason
		}
	}
	if e.cause != nil {
		s += ": " + e.cause.Error()
	}
	return s
}

// Unwrap returns the private cause.
func (e *Error) Unwrap() error { return e.cause }

// AsError returns the Error within err, or an Internal one around it. It is how
// the edges turn any failure into something that may be shown.
func AsError(err error) *Error {
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	return NewError(Internal, CodeInternal,
		"The server failed in a way that it did not expect. Try again; if it persists, give the request id to the operator.").WithCause(err)
}

// mostDetails is how many bad fields an error names. Whoever makes up some thousand names
// would else get several times as much back as he sent.
const mostDetails = 50

// InvalidFields returns the Invalid error for one or more bad fields. Its message
// names them, or the first fifty of more; the details say why.
func InvalidFields(details ...FieldError) *Error {
	bad, which := len(details), ": "
	if bad > mostDetails {
		details, which = details[:mostDetails], ", of which these are the first: "
	}
	e := &Error{Kind: Invalid, Code: CodeInvalidRequest, Details: details}
	if len(details) == 1 {
		e.Message = details[0].Field + " " + details[0].Reason
		return e
	}
	names := make([]string, len(details))
	for i, d := range details {
		names[i] = d.Field
	}
	e.Message = strconv.Itoa(bad) + " fields are not valid" + which + strings.Join(names, ", ") + ". The details say why."
	return e
}
