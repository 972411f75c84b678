import assert from 'node:assert/strict'
import { assertFailed, scenario } from './world.ts'

scenario('an ID token that was exchanged before', async w => {
  const id = await w.agent()
  await w.trust({ branch: 'main', agentId: id })
  assert.equal((await w.issueToken({ 'agent-id': id })).code, 0)
  const first = w.sent.find(({ to }) => to === 'CI')
  w.ci.interference = { answer: () => ({ status: 200, body: first?.answer ?? '' }) } // hands out the same one again

  assertFailed(await w.issueToken({ 'agent-id': id }), 'ID token already used')
})
