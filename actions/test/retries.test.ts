import assert from 'node:assert/strict'
import { scenario } from './world.ts'

scenario('A-098 A-252: a server that is back after a moment, and an answer that is lost; every attempt has a fresh ID token', async w => {
  const id = await w.agent()
  await w.trust({ branch: 'main', agentId: id })
  const troubles = [{ status: 503, headers: { 'retry-after': '1' } }, 'lose' as const]
  w.idp.interference = { answer: () => troubles.shift() }

  const start = Date.now()
  const step = await w.issueToken({ 'agent-id': id })

  assert.equal(step.code, 0)
  assert.ok(Date.now() - start >= 2500, 'it did not wait: 1 s that the server asked for, and 1.5 s at least')
  const tokens = w.sent.filter(({ to }) => to === 'server').map(({ body }) => (JSON.parse(body) as { token: string }).token)
  assert.deepEqual([tokens.length, new Set(tokens).size], [3, 3])
})
