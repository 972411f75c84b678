import assert from 'node:assert/strict'
import { scenario } from './world.ts'

scenario('a token that expires too quickly is told when it is issued, and when it did not last', async w => {
  const id = await w.agent()
  await w.trust({ branch: 'main', agentId: id, tokenTtlSeconds: 60 })
  const step = await w.issueToken({ 'agent-id': id })
  assert.equal(step.code, 0)
  assert.match(step.stdout, /^::warning title=Token expires too quickly::/m)

  const after = await w.afterIssueToken({ ...step, state: { ...step.state, 'expires-at': '2026-11-21T12:00:00Z' } })
  assert.equal(after.code, 0)
  assert.match(after.stdout, /^::warning title=Token expires too quickly::/m)
})
