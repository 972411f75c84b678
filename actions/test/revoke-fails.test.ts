import assert from 'node:assert/strict'
import { scenario } from './world.ts'

scenario('A-255: a token that cannot be revoked is a warning, and the job is not affected', async w => {
  const id = await w.agent()
  await w.trust({ branch: 'main', agentId: id })
  const step = await w.issueToken({ 'agent-id': id })
  w.idp.interference = { answer: () => ({ status: 503, headers: { 'retry-after': '3600' } }) }

  const after = await w.afterIssueToken(step)

  assert.equal(after.code, 0)
  assert.match(after.stdout, /^::warning title=Token not revoked::/m)
})
