import assert from 'node:assert/strict'
import { scenario } from './world.ts'

scenario('A-242 A-244: a trailing slash of api-url is left out of the audience, which is always sent', async w => {
  const id = await w.agent()
  await w.trust({ branch: 'main', agentId: id })

  const step = await w.issueToken({ 'agent-id': id, 'api-url': `${w.apiUrl}/` })

  assert.equal(step.code, 0)
  const audiences = w.sent.filter(({ to }) => to === 'CI').map(({ path }) => path.split('&audience=')[1])
  assert.deepEqual(audiences, [encodeURIComponent(w.apiUrl)])
})
