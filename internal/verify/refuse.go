package verify

import (
	"errors"
	"fmt"

	"github.com/sentryagent/agentidp"
)

// Reasons of refusals before the signature is proven. Of size the caller is told, and
// it is not counted; all others look alike from outside.
const (
	reasonSize       = "size"
	reasonFormat     = "format"
	reasonAlgorithm  = "algorithm"
	reasonType       = "type"
	reasonUnknownKey = "unknown_key"
	reasonSignature  = "signature"
)

// ReasonIssuer is that of a token whose issuer is no provider's, or not that of the one
// that it was taken for.
const ReasonIssuer = "issuer"

// unacceptable is the cause of a refusal before the signature is proven.
type unacceptable struct {
	reason string
	cause  error
}

func (e *unacceptable) Error() string { return e.reason + ": " + e.cause.Error() }
func (e *unacceptable) Unwrap() error { return e.cause }

// refuse returns the one error that every credential gets that is not acceptable:
// whoever sends it has proven nothing and learns nothing.
func refuse(reason string, cause error) *agentidp.Error {
	return agentidp.NewError(agentidp.Unauthenticated, agentidp.CodeInvalidToken,
		"The subject token is not an acceptable credential. Send the ID token as your CI provider issued it, unchanged; "+
			"its issuer must be registered as a provider here.",
	).WithCause(&unacceptable{reason, cause})
}

// UnknownIssuer returns the error for a token whose issuer is no provider's. To its
// caller it is the same as that for a bad signature; the cause names the issuer, as
// far as it is short, for the operator: it is the likeliest fault of a new set-up.
func UnknownIssuer(issuer string) *agentidp.Error {
	return refuse(ReasonIssuer, fmt.Errorf("%.200q is the issuer of no provider", issuer))
}

// Reason returns a word for an error of this package, for counters: one of a few
// fixed ones whatever the token. Once the signature is proven it is that of the error.
func Reason(err error) string {
	if e, ok := errors.AsType[*unacceptable](err); ok {
		return e.reason
	}
	e := agentidp.AsError(err)
	switch {
	case e.Kind == agentidp.TooLarge:
		return reasonSize
	case e.Reason != "":
		return e.Reason
	}
	return e.Code
}

// proven returns the error for a token whose signature is proven, so that it may
// say what is wrong.
func proven(reason, message string, claims map[string]string, details ...agentidp.FieldError) *agentidp.Error {
	e := agentidp.NewError(agentidp.Unauthenticated, agentidp.CodeInvalidToken, message)
	e.Reason, e.Claims, e.Details = reason, claims, details
	return e
}

// claimInvalid returns the error for claims that are missing or malformed, by the
// provider's names.
func claimInvalid(details []agentidp.FieldError) *agentidp.Error {
	more := ""
	if n := len(details) - 1; n > 0 {
		more = fmt.Sprintf(", and %d more are not in order", n)
	}
	return proven(agentidp.ReasonClaimInvalid, fmt.Sprintf(
		"The subject token's claim %s %s%s. Check that the provider's kind is that of your CI system; its ID tokens carry the claim.",
		details[0].Field, details[0].Reason, more), nil, details...)
}
