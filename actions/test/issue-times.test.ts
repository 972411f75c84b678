import { assertFailed, scenario } from './world.ts'

scenario('ID tokens of a CI whose clock is wrong', async w => {
  const id = await w.agent()
  await w.trust({ branch: 'main', agentId: id })
  const now = Math.floor(Date.now() / 1000)
  for (const [iat, exp] of [[now - 3600, now - 3300], [now + 3600, now + 3900]] as const) {
    await w.runsOn({ claims: [`iat:=${String(iat)}`, `nbf:=${String(iat)}`, `exp:=${String(exp)}`] })
    assertFailed(await w.issueToken({ 'agent-id': id }), 'ID token expired, or a clock is wrong')
  }
})
