import { assertFailed, scenario } from './world.ts'

scenario('a run on another branch is told so, with its own claims and without the branch of the policy', async w => {
  await w.trust({ branch: 'secret-release-train' })
  await w.runsOn({ ref: "refs/heads/feature/<b>|`x`'$(id)" })

  assertFailed(await w.registerAgent(), 'Branch not permitted')
})
