package problem

import (
	"strings"

	"github.com/sentryagent/agentidp"
)

// challenges returns the values of WWW-Authenticate for an error: which schemes there
// are, the one that the caller used first, and with it alone what was wrong (RFC 6750
// §3, RFC 9449 §7.1, §7.2). nil: the error is about something else.
func challenges(e *agentidp.Error) []string {
	used, other := agentidp.SchemeBearer, agentidp.SchemeDPoP
	if e.Scheme == agentidp.SchemeDPoP {
		used, other = other, used
	}
	switch {
	case e.Code == agentidp.CodeAuthenticationRequired:
		// RFC 6750 §3.1: no error code where no credential was presented.
		return []string{challenge(used), challenge(other)}
	case e.Code == agentidp.CodeInvalidDPoPProof && e.Kind == agentidp.Unauthenticated:
		return []string{challenge(used, "error", "invalid_dpop_proof"), challenge(other)}
	case e.Kind == agentidp.Unauthenticated:
		return []string{challenge(used, "error", "invalid_token"), challenge(other)}
	case e.Code == agentidp.CodeInsufficientScope && e.Scope != "":
		return []string{challenge(used, "error", "insufficient_scope", "scope", e.Scope)}
	case e.Code == agentidp.CodeInsufficientScope:
		return []string{challenge(used, "error", "insufficient_scope")}
	}
	return nil
}

// algorithms are those of proofs, as the challenge of DPoP has them (RFC 9449 §7.1).
var algorithms = strings.Join(agentidp.ProofAlgorithms, " ")

// challenge writes a scheme with its parameters, given as names and values, of which
// none needs an escape.
func challenge(scheme string, params ...string) string {
	if scheme == agentidp.SchemeDPoP {
		params = append(params, "algs", algorithms)
	}
	var b strings.Builder
	b.WriteString(scheme)
	for i := 0; i < len(params); i += 2 {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(" " + params[i] + `="` + params[i+1] + `"`)
	}
	return b.String()
}
