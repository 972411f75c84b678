import type { components } from './api.gen.ts'
import type { Grant } from './exchange.ts'
import { Failure } from './failure.ts'
import { type Answer, post } from './http.ts'
import * as messages from './messages.ts'
import { isUUID, members, refusal } from './refusal.ts'
import { withRetries } from './retry.ts'

type Agent = components['schemas']['Agent']
type Request = Pick<components['schemas']['AgentRequest'], 'name' | 'description'>

/** An agent of this repository. */
export interface Registered {
  agentId: Agent['agentId']
  /** Name of the provider that the server knows this CI by. */
  provider: string
  /** Registered by this call, not by an earlier one. */
  fresh: boolean
}

/**
 * Registers an agent with a bootstrap token. For the same name from the same
 * repository the server answers with the agent that is there, so an attempt whose
 * answer was lost may be repeated.
 *
 * @throws Failure
 */
export function registerAgent(apiUrl: string, grant: Grant, wanted: Request): Promise<Registered> {
  return withRetries(async () => {
    const answer = await post({
      url: `${apiUrl}/api/v1/agents`, mediaType: 'application/json', bearer: grant.accessToken, body: JSON.stringify(wanted),
    })
    if (answer.status !== 200 && answer.status !== 201) {
      throw refusedRegistration(answer, grant, wanted.name)
    }
    return readAgent(answer)
  })
}

function readAgent(answer: Answer): Registered {
  const body = members(answer.body)
  const agentId = body.get('agentId')
  if (!isUUID(agentId)) {
    throw new Failure(messages.unexpectedAnswer('agentId is missing or not of its form'), { status: answer.status, requestId: answer.requestId })
  }
  const provider = members(body.get('registeredBy')).get('provider')
  return {
    agentId,
    provider: typeof provider === 'string' && /^[a-z0-9][a-z0-9-]{0,62}$/.test(provider) ? provider : 'github',
    fresh: answer.status === 201,
  }
}

function refusedRegistration(answer: Answer, grant: Grant, name: string): Failure {
  return refusal(answer, (status, code) => {
    switch (code) {
      case 'agent_name_taken': return messages.nameTaken(name)
      case 'agent_decommissioned': return messages.agentDecommissioned(name)
      case 'agent_limit_reached': return messages.agentLimitReached()
      case 'agent_name_not_permitted': return messages.nameNotPermitted(name)
      default: return status === 401 ? messages.agentsUnauthorized() : undefined
    }
  }, grant)
}
