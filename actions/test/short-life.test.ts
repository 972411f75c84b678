import assert from 'node:assert/strict'
import { scenario } from './world.ts'

scenario('a token that expires too quickly is told when it is issued; one that did not last is not sent again, nor a warning', async w => {
  const id = await w.agent()
  await w.trust({ branch: 'main', agentId: id, tokenTtlSeconds: 60 })
  const step = await w.issueToken({ 'agent-id': id })
  assert.equal(step.code, 0)
  assert.match(step.stdout, /^::warning title=Token expires too quickly::/m)

  const after = await w.afterIssueToken({ ...step, state: { ...step.state, 'expires-at': '2026-11-21T12:00:00Z' } })
  assert.equal(after.code, 0)
  assert.match(after.stdout, /^The token expired at 2026-11-21T12:00:00Z/m)
  assert.doesNotMatch(after.stdout, /^::warning/m)
  assert.ok(!w.sent.some(({ path }) => path === '/oauth2/revoke'))

  const justNow = new Date(Date.now() - 10_000).toISOString() // by this clock; the server's may differ
  const revoked = await w.afterIssueToken({ ...step, state: { ...step.state, 'expires-at': justNow } })
  assert.match(revoked.stdout, /^The token is revoked\.$/m)
})
