import { assertFailed, scenario } from './world.ts'

scenario('a run that a stranger can cause is told which events pass', async w => {
  await w.trust({ branch: 'main' })
  await w.runsOn({ event: 'pull_request_target' })

  assertFailed(await w.registerAgent(), 'Event not permitted')
})
