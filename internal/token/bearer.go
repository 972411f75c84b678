package token

import (
	"net/http"
	"strings"

	"github.com/sentryagent/agentidp"
)

// Bearer returns the access token that a request presents in its Authorization
// header (RFC 6750 §2.1), or "" where there is no such header. A token anywhere
// else, as in the query, is not looked at.
func Bearer(r *http.Request) (string, error) {
	values := r.Header.Values("Authorization")
	if len(values) == 0 {
		return "", nil
	}
	scheme, bearer, ok := strings.Cut(values[0], " ")
	if len(values) > 1 || !ok || !strings.EqualFold(scheme, "Bearer") || bearer == "" {
		return "", agentidp.NewError(agentidp.Unauthenticated, agentidp.CodeInvalidToken,
			"The Authorization header is not one bearer token: send it once, as Authorization: Bearer <token>.")
	}
	return bearer, nil
}
