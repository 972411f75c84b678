import assert from 'node:assert/strict'
import { assertFailed, scenario } from './world.ts'

scenario('A-247: a runner without files for outputs gets none, rather than reading them from the log', async w => {
  const id = await w.agent()
  await w.trust({ branch: 'main', agentId: id })
  for (const missing of ['GITHUB_OUTPUT', 'GITHUB_STATE']) {
    w.env = { [missing]: '' }
    assertFailed(await w.issueToken({ 'agent-id': id }), 'Runner too old')
    assertFailed(await w.registerAgent(), 'Runner too old')
  }
  assert.deepEqual(w.sent, [])
})
