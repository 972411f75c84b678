import * as core from '@actions/core'
import { registerAgent } from '../../shared/agents.ts'
import { exchange } from '../../shared/exchange.ts'
import { apiUrl, optional, required } from '../../shared/inputs.ts'
import * as messages from '../../shared/messages.ts'
import { requireFiles } from '../../shared/outputs.ts'
import { run, writeSummary } from '../../shared/report.ts'
import { nextSteps } from './nextsteps.ts'

await run(async () => {
  requireFiles()
  const url = apiUrl()
  const name = required('agent-name')
  const description = optional('agent-description')

  const bootstrap = await exchange(url, {})
  const agent = await registerAgent(url, bootstrap, description === undefined ? { name } : { name, description })

  core.setOutput('agent-id', agent.agentId)
  core.info(messages.registered(agent.agentId, agent.fresh))
  await writeSummary(nextSteps(url, name, agent, bootstrap.claims))
})
