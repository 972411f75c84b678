package app

import (
	"fmt"
	"testing"

	"github.com/sentryagent/agentidp"
	"github.com/sentryagent/agentidp/internal/config"
)

// a page has its visitors' browsers send what fails, as much as it can. It
// gets refusals, and uses up nothing of what their addresses have.
func TestAPageLocksNoVisitorOut(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *config.Config) { c.AddressFailuresPerMinute, c.AddressRequestsPerMinute = 3, 20 })
	w.clock.freeze()
	admin := w.admin()
	for _, page := range [][]string{
		{"Sec-Fetch-Site", "cross-site"}, {"Sec-Fetch-Site", "same-site"}, {"Sec-Fetch-Site", "same-origin", "Origin", "https://evil.example"},
		{"Origin", "https://evil.example"}, {"Origin", "null"}, {"Sec-Fetch-Site", "none, cross-site"},
	} {
		for i := range 10 {
			w.isProblem(w.want(w.do("GET", agentsPath, "", nil, page...), 403, agentidp.CodeCrossSiteRequest))
			w.want(w.do("GET", agentsPath, admin, nil, page...), 403, agentidp.CodeCrossSiteRequest)
			w.want(w.do("POST", exchangePath, "", `{"token":"x"}`, page...), 403, agentidp.CodeCrossSiteRequest)
			for _, path := range []string{tokenPath, "/oauth2/introspect"} {
				w.want(w.do("POST", path, "", "token=x", page...), 403, agentidp.CodeCrossSiteRequest)
			}
			w.want(w.do("GET", fmt.Sprintf("/o/nowhere%d/healthz", i), "", nil, page...), 403, agentidp.CodeCrossSiteRequest)
			w.want(w.do("GET", "/healthz", "", nil, page...), 200)
		}
	}
	for i := range 30 { // documents are for pages too; they have a limit, which is not the visitor's
		status, code := 404, agentidp.CodeNotFound
		if i >= 20 {
			status, code = 429, agentidp.CodeRateLimited
		}
		w.want(w.do("GET", fmt.Sprintf("/o/nowhere%d/.well-known/jwks.json", i), "", nil, "Sec-Fetch-Site", "cross-site"), status, code)
	}
	w.want(w.do("GET", "/.well-known/jwks.json", "", nil), 200)
	w.want(w.do("GET", agentsPath, admin, nil, "Sec-Fetch-Site", "none"), 200)
	w.want(w.do("GET", agentsPath, admin, nil, "Sec-Fetch-Site", "same-origin", "Origin", w.url), 200)
	for range 3 { // whoever says nothing of a page is counted
		w.want(w.do("GET", agentsPath, "wrong", nil), 401, agentidp.CodeInvalidToken)
	}
	w.want(w.do("GET", agentsPath, admin, nil), 429, agentidp.CodeRateLimited)
}
