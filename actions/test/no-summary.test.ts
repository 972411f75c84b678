import assert from 'node:assert/strict'
import { scenario } from './world.ts'

scenario('a runner without a job summary', async w => {
  await w.trust({ branch: 'main' })
  w.env = { GITHUB_STEP_SUMMARY: '' }
  assert.equal((await w.registerAgent()).code, 0)
  w.env['GITHUB_STEP_SUMMARY'] = '/no/such/file'
  assert.equal((await w.registerAgent()).code, 0)
})
