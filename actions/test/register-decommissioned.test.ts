import { assertFailed, scenario } from './world.ts'

scenario('an agent that was decommissioned does not come back', async w => {
  await w.trust({ branch: 'main' })
  const { outputs } = await w.registerAgent()
  await w.admin('DELETE', `/api/v1/agents/${outputs['agent-id'] ?? ''}`)

  assertFailed(await w.registerAgent(), 'Agent decommissioned')
})
