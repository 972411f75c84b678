package dpop

import (
	"net/http"
	"strings"
	"time"

	"github.com/sentryagent/agentidp"
)

// header is the name of the field that carries a proof, as http.Header has it.
const header = "Dpop"

// OfRequest returns the proof of a request for a token (§5), or nil where there is none.
// Error: that of Check.
func OfRequest(r *http.Request, url string, now time.Time) (*agentidp.Proof, error) {
	proofs := r.Header[header]
	if len(proofs) == 0 {
		return nil, nil //nolint:nilnil // a request without a proof asks for a bearer token
	}
	return Check(proofs, r.Method, url, "", now)
}

// Presented returns the access token that authenticates a request, from its
// Authorization header: by the scheme Bearer (RFC 6750 §2.1), or by the scheme DPoP with
// a proof (§7.1), which is returned with it. token is empty where there is no such
// header. A token anywhere else, as in the query, is not looked at, and neither is a
// proof beside a bearer token: whether that is bound stands in its record. Errors:
// Unauthenticated (invalid_token, invalid_dpop_proof).
func Presented(r *http.Request, url string, now time.Time) (token string, proof *agentidp.Proof, err error) {
	values := r.Header["Authorization"]
	if len(values) == 0 {
		return "", nil, nil
	}
	scheme, token, ok := strings.Cut(values[0], " ")
	bound := strings.EqualFold(scheme, agentidp.SchemeDPoP)
	if len(values) > 1 || !ok || !bound && !strings.EqualFold(scheme, agentidp.SchemeBearer) || token == "" {
		return "", nil, agentidp.NewError(agentidp.Unauthenticated, agentidp.CodeInvalidToken,
			"The Authorization header is not one access token: send it once, as Authorization: Bearer <token>, or, where the token is bound to a key, as Authorization: DPoP <token> with a proof in the header DPoP.")
	}
	if !bound {
		return token, nil, nil
	}
	proof, err = Check(r.Header[header], r.Method, url, token, now)
	if err != nil {
		return "", nil, unauthenticated(err)
	}
	return token, proof, nil
}

// unauthenticated is the error of a proof where it authenticates a request: 401, with a
// challenge of the scheme (§7.1).
func unauthenticated(err error) error {
	e := *agentidp.AsError(err)
	if e.Code == agentidp.CodeInvalidDPoPProof {
		e.Kind, e.Scheme = agentidp.Unauthenticated, agentidp.SchemeDPoP
	}
	return &e
}
