import assert from 'node:assert/strict'
import { scenario } from './world.ts'

scenario('A-255: the token ends with the job, where it came from, whatever the input says by then', async w => {
  const id = await w.agent({ capabilities: ['agents:read'] })
  await w.trust({ branch: 'main', agentId: id, audiences: [`${w.apiUrl}/api/v1`], scopes: ['agents:read'] })
  const step = await w.issueToken({ 'agent-id': id })
  const calls = async (): Promise<number> => {
    const headers = { authorization: `Bearer ${step.outputs['access-token'] ?? ''}` }
    return (await fetch(`${w.idp.target}/api/v1/agents`, { headers })).status
  }
  assert.equal(await calls(), 200)
  assert.equal((await w.afterIssueToken(step, { 'api-url': 'https://elsewhere.example' })).code, 0)
  assert.equal(await calls(), 401)
})
