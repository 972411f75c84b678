import assert from 'node:assert/strict'
import { assertFailed, scenario } from './world.ts'

scenario('a bootstrap policy limits how many agents, and which names', async w => {
  await w.trust({ branch: 'main', maxAgents: 1, agentNamePattern: '*@ci.acme.example' })
  assertFailed(await w.registerAgent({ 'agent-name': 'deployer@elsewhere.example' }), 'Agent name not permitted')
  assert.equal((await w.registerAgent()).code, 0)
  assertFailed(await w.registerAgent({ 'agent-name': 'second@ci.acme.example' }), 'Too many agents')
})
