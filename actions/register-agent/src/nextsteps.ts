import type { Registered } from '../../shared/agents.ts'
import type { Claims } from '../../shared/claims.ts'
import { policyFor } from '../../shared/policy.ts'
import { printable, shellJSON, summaryText } from '../../shared/text.ts'

/** The job summary of a registration: what has to be there before issue-token works. */
export function nextSteps(apiUrl: string, name: string, agent: Registered, claims: Claims): string {
  return `### Agent ${summaryText(printable(name))}

Its id is \`${agent.agentId}\` (${agent.fresh ? 'registered by this run' : 'registered before; nothing changed'}).

**Before \`issue-token\` works for it**, an administrator trusts this repository with it. With \`AGENTIDP_TOKEN\` from
\`agentidp admin token\`:

\`\`\`sh
curl -fsS ${apiUrl}/api/v1/oidc/trust-policies -H "Authorization: Bearer $AGENTIDP_TOKEN" \\
  -H 'Content-Type: application/json' -d '${shellJSON(policyFor(claims, agent.provider, agent.agentId))}'
\`\`\`

Name the services that its tokens are for with \`"audiences": ["https://service.example.com"]\`. If the bootstrap policy
that this run came by has \`trustRegisteredAgents\`, the policy was created together with the agent, for the audience
${apiUrl} alone, and only services are left to be named.

The agent has the capabilities that an administrator gives it, none at first. A client secret or public key of its own is
made by an administrator, or by the agent itself with the scope \`credentials:self\`.

`
}
