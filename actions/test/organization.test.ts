import assert from 'node:assert/strict'
import { NAME, scenario } from './world.ts'

scenario('A-242: the api-url of an organization is the audience, path and all, and where the token is revoked', async w => {
  await w.organization('acme')
  await w.trust({ branch: 'main' })

  const { outputs } = await w.registerAgent({ 'api-url': `${w.apiUrl}/` })
  const id = outputs['agent-id'] ?? ''
  assert.equal((await w.admin('GET', `/api/v1/agents/${id}`))['name'], NAME)
  await w.trust({ branch: 'main', agentId: id })
  const step = await w.issueToken({ 'agent-id': id })
  assert.equal((await w.afterIssueToken(step)).code, 0)

  assert.deepEqual(w.sent.filter(({ to }) => to === 'CI').map(({ path }) => path.split('&audience=')[1]), Array(2).fill(encodeURIComponent(w.apiUrl)))
  assert.deepEqual(w.sent.filter(({ to, path }) => to === 'server' && !path.startsWith('/o/acme/')), [])
})
