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

// Nobody foresees a state that the main step does not write; so it has to do for what nobody foresees.
scenario('A-255: so is an error that nobody foresaw', async w => {
  const id = await w.agent()
  await w.trust({ branch: 'main', agentId: id })
  const step = await w.issueToken({ 'agent-id': id })

  const after = await w.afterIssueToken({ ...step, state: { ...step.state, 'api-url': 'nowhere' } })

  assert.equal(after.code, 0)
  assert.match(after.stdout, /^::warning title=Token not revoked::.*Error in the action/m)
  assert.equal(after.summary, '')
}, { snapshot: false })
