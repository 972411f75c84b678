import assert from 'node:assert/strict'
import { assertFailed, scenario } from './world.ts'

scenario('where the bootstrap policy trusts what it registers, the token comes in the same job', async w => {
  await w.trust({ branch: 'main', trustRegisteredAgents: true })

  const { outputs } = await w.registerAgent()
  const id = outputs['agent-id'] ?? ''
  assert.equal((await w.issueToken({ 'agent-id': id })).code, 0)
  assertFailed(await w.issueToken({ 'agent-id': id, audience: 'https://deploy.acme.example' }), 'Audience not permitted')
})
