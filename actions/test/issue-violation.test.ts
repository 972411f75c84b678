import { assertFailed, scenario } from './world.ts'

scenario('an agent that no policy of this repository names is told so, known or not', async w => {
  await w.trust({ branch: 'main' }) // bootstrap: gives no agent's token

  assertFailed(await w.issueToken({ 'agent-id': await w.agent() }), 'Trust policy violation')
  assertFailed(await w.issueToken({ 'agent-id': '01993b6e-0000-7000-8000-000000000001' }), 'Trust policy violation')
})
