import assert from 'node:assert/strict'
import { scenario } from './world.ts'

scenario('a registration whose answer is lost is asked for again, and is the same', async w => {
  await w.trust({ branch: 'main' })
  const troubles = ['lose' as const]
  w.idp.interference = { answer: path => path === '/api/v1/agents' ? troubles.shift() : undefined }

  const step = await w.registerAgent()

  assert.equal(step.code, 0)
  const { items } = await w.admin('GET', '/api/v1/agents') as { items: { agentId: string }[] }
  assert.deepEqual(items.map(({ agentId }) => agentId), [step.outputs['agent-id']])
})
