import assert from 'node:assert/strict'
import { scenario } from './world.ts'

scenario('a run for a tag is told the policy for that tag', async w => {
  await w.trust({ tag: 'v*' })
  await w.runsOn({ ref: "refs/tags/v1.0.0-it's", event: 'release' })

  const step = await w.registerAgent()

  assert.equal(step.code, 0)
  const json = /-d '([^']+)'/.exec(step.summary)?.[1] ?? ''
  assert.deepEqual(JSON.parse(json), {
    provider: 'github', repository: 'acme/deploy', tag: "v1.0.0-it's", agentId: step.outputs['agent-id'],
  })
})
