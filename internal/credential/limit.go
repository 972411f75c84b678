package credential

import (
	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/limit"
)

// maxClients is how many clients' requests are counted at once.
const maxClients = 10_000

func newRequests(perMinute int) *limit.Buckets[[2]string] {
	return limit.New[[2]string]("requests-of-client", perMinute, maxClients)
}

// count counts a request of a client that is proven to have sent it, so that nobody else
// uses up what is its. It returns where the client stands, or the error for one that has
// sent too many.
func (a *Authenticator) count(orgID, clientID string) (agentidp.RateLimit, error) {
	return tooMany(a.requests.Take(a.Clock(), [2]string{orgID, clientID}))
}

// mayAsk returns the error of a client that has sent too many, and counts nothing: a
// signature does not prove yet that the assertion was not taken from another request.
func (a *Authenticator) mayAsk(orgID, clientID string) error {
	_, err := tooMany(a.requests.Look(a.Clock(), [2]string{orgID, clientID}))
	return err
}

func tooMany(state agentidp.RateLimit, ok bool) (agentidp.RateLimit, error) {
	if ok {
		return state, nil
	}
	return state, limit.Refusal(state, "This client has sent too many requests in a minute. Keep a token for as long as it is good, and wait as long as Retry-After says; whoever operates the server sets the limit (AGENTIDP_CLIENT_REQUESTS_PER_MINUTE).")
}
