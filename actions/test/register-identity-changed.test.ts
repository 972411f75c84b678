import assert from 'node:assert/strict'
import { assertFailed, scenario } from './world.ts'

scenario('a repository that took over a trusted name is told so', async w => {
  await w.trust({ branch: 'main' })
  assert.equal((await w.registerAgent()).code, 0)
  await w.runsOn({ claims: ['repository_id=74'] })

  assertFailed(await w.registerAgent(), 'Repository identity changed')
})
