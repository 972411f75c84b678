// Tests that hold internal/jose against the vectors of Wycheproof, which a module of its
// own brings: more than the product needs.
module github.com/sentryagent/agentidp/test/wycheproof

go 1.26.4

require (
	github.com/c2sp/wycheproof v0.0.0-20260902155932-3fa63dd0344a
	github.com/sentryagent/agentidp v0.0.0
)

replace github.com/sentryagent/agentidp => ../..
