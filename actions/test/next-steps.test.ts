import assert from 'node:assert/strict'
import { execute } from './program.ts'
import { scenario } from './world.ts'

scenario('the command in the job summary makes issue-token work', async w => {
  await w.trust({ branch: 'main' })
  const { outputs, summary } = await w.registerAgent()
  const inputs = { 'agent-id': outputs['agent-id'] ?? '' }
  assert.equal((await w.issueToken(inputs)).code, 1)

  const [, command = ''] = /```sh\n([^]+?)```/.exec(summary) ?? []
  const pasted = await execute('bash', ['-c', command], { env: { PATH: process.env['PATH'] ?? '', AGENTIDP_TOKEN: w.adminToken } })

  assert.equal(pasted.code, 0, pasted.stderr)
  assert.equal((await w.issueToken(inputs)).code, 0)
}, { snapshot: false })
