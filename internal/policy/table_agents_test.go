package policy_test

import (
	"strings"

	"github.com/sentryagent/agentidp"
)

var ofAgents = []sentence{
	// Agents and modes.
	{"A-147: a bootstrap policy grants no agent", one(bootstrap), run(), "agent"},
	{"A-147: a bootstrap policy does not say that the branch is wrong for an agent", one(bootstrap), run(onBranch("dev")), "agent"},
	{"A-148: an agent policy grants no bootstrap", one(), run(noAgent), "agent"},
	{"A-148: an agent policy does not say that the event is wrong for bootstrap", one(), run(noAgent, event("fork")), "agent"},
	{"a bootstrap policy grants bootstrap", one(bootstrap), run(noAgent), allowed},
	{"A-149: a policy for one agent does not grant another", one(), run(agentNamed(agentY)), "agent"},
	{"A-149: an agent's id has one spelling: not in capitals", one(), run(agentNamed(strings.ToUpper(agentX))), "agent"},
	{"A-149: an agent's id has one spelling: not in braces", one(), run(agentNamed("{" + agentX + "}")), "agent"},
	{"A-149: an agent's id has one spelling: not as a URN", one(), run(agentNamed("urn:uuid:" + agentX)), "agent"},
	{"A-149: an agent of another tenant is not active here", one(), run(agentOfOtherTenant), "agent_status"},
	{"an agent that came with the exchange by mistake is not the one asked for", one(), run(agentMixedUp), "agent_status"},
	{"A-153: a suspended agent gets no token", one(), run(status(agentidp.AgentSuspended)), "agent_status"},
	{"A-153: a decommissioned agent gets no token", one(), run(status(agentidp.AgentDecommissioned)), "agent_status"},
	{"an agent without a status gets no token", one(), run(status("")), "agent_status"},
	{"an agent that is gone gets no token", one(), run(agentUnknown), "agent_status"},
	{"an inactive agent is told before a wrong event", one(), run(agentUnknown, event("fork")), "agent_status"},
	{"a stranger does not learn that the agent is suspended", one(), run(ids("99", "98"), status(agentidp.AgentSuspended)), "pinned_repository_id"},

	// Scopes and audiences.
	{"a scope of the agent may be asked for", one(), run(asking("deploy:staging")), allowed},
	{"A-150: a scope that the agent lacks may not", one(), run(asking("deploy:staging", "delete:all")), "scope"},
	{"A-150: nor one that the policy leaves out", one(withScopes("deploy:staging")), run(asking("deploy:production")), "scope"},
	{"A-150: nor one of the policy that the agent lacks", one(withScopes("delete:all")), run(asking("delete:all")), "scope"},
	{"A-150: agents:write is no agent's by itself", one(), run(asking("agents:write")), "scope"},
	{"a star is not every scope", one(), run(asking("*")), "scope"},
	{"admin is not every scope", one(), run(capabilities("admin"), asking("deploy:staging")), "scope"},
	{"A-150: bootstrap carries agents:write alone", one(bootstrap), run(noAgent, asking("agents:write", "agents:read")), "scope"},
	{"bootstrap may ask for agents:write", one(bootstrap), run(noAgent, asking("agents:write")), allowed},
	{"the issuer may be asked for as audience", one(), run(audience("https://idp.example.com")), allowed},
	{"another audience may not", one(), run(audience("https://evil.example")), "audience"},
	{"A-076: a prefix of the audience may not", one(), run(audience("https://idp.example")), "audience"},
	{"A-076: nor the audience with a slash", one(), run(audience("https://idp.example.com/")), "audience"},
	{"an agent does not get the management API by asking", one(), run(audience("https://idp.example.com/api/v1")), "audience"},
	{"audiences that are named replace the issuer", one(withAudiences("https://a.example")), run(audience("https://idp.example.com")), "audience"},
	{"any of the named audiences may be asked for", one(withAudiences("https://a.example", "https://b.example")), run(audience("https://b.example")), allowed},
	{"bootstrap may ask for the management API", one(bootstrap), run(noAgent, audience("https://idp.example.com/api/v1")), allowed},
	{"bootstrap may ask for nothing else", one(bootstrap), run(noAgent, audience("https://idp.example.com")), "audience"},
	{"a wrong scope is told before a wrong audience", one(), run(asking("x:y"), audience("https://evil.example")), "scope"},
	{"a wrong branch is told before a wrong scope", one(), run(onBranch("dev"), asking("x:y")), "ref"},

	// Several policies.
	{"either of two branches passes", several(pol(branch("dev")), pol(id("p2"))), run(), allowed},
	{"A-171: conditions of two policies never mix",
		several(pol(), pol(id("p2"), bootstrap, branch(""))), run(onBranch("dev")), "ref"},
	{"A-171: nor do the event of one and the branch of another",
		several(pol(onEvents("schedule")), pol(id("p2"), branch("dev"))), run(), "ref"},
	{"A-171: nor do the pin of one and the branch of another",
		several(pol(branch("dev")), pol(id("p2"), needsIDs("75", ""))), run(), "ref"},
	{"A-171: nor do the scope of one and the audience of another",
		several(pol(withScopes("deploy:staging"), withAudiences("https://a.example")), pol(id("p2"), withScopes("deploy:production"), withAudiences("https://b.example"))),
		run(asking("deploy:staging"), audience("https://b.example")), "audience"},
	{"the policy that got furthest answers: event before identity", several(pol(needsIDs("75", "")), pol(id("p2"), onEvents("schedule"))), run(), "event"},
	{"the policy that got furthest answers: branch before event", several(pol(onEvents("schedule")), pol(id("p2"), branch("dev"))), run(), "ref"},
	{"the policy that got furthest answers: audience before branch", several(pol(branch("dev")), pol(id("p2"))), run(audience("https://evil.example")), "audience"},
	{"the policy that got furthest answers: identity before none", several(pol(disabled), pol(id("p2"), needsIDs("75", ""))), run(), "repository_id"},
	{"a policy of another tenant never answers", several(pol(otherTenant, branch("dev")), pol(id("p2"), disabled)), run(), "mode"},
	{"A-112: the old name taken by another repository does not stop the renamed one",
		several(pol(of("acme/old")), pol(id("p2"), pinnedTo("80", "65"))), run(), allowed},
}
