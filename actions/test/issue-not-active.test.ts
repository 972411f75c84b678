import assert from 'node:assert/strict'
import { assertFailed, scenario } from './world.ts'

scenario('a suspended agent gets no token until it is reactivated', async w => {
  const id = await w.agent()
  await w.trust({ branch: 'main', agentId: id })
  await w.admin('POST', `/api/v1/agents/${id}/suspend`)
  assertFailed(await w.issueToken({ 'agent-id': id }), 'Agent not active')
  await w.admin('POST', `/api/v1/agents/${id}/reactivate`)
  assert.equal((await w.issueToken({ 'agent-id': id })).code, 0)
})
