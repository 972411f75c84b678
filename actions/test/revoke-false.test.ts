import assert from 'node:assert/strict'
import { scenario } from './world.ts'

scenario('A-255: revoke: false leaves the token alone, and does not even hand it on', async w => {
  const id = await w.agent()
  await w.trust({ branch: 'main', agentId: id })
  const step = await w.issueToken({ 'agent-id': id, revoke: 'false' })
  assert.deepEqual([step.code, step.state], [0, {}])
  assert.equal((await w.afterIssueToken(step, { revoke: 'false' })).code, 0)
  assert.deepEqual(w.sent.filter(({ path }) => path === '/oauth2/revoke'), [])
})
