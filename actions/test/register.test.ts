import assert from 'node:assert/strict'
import { NAME, scenario } from './world.ts'

scenario('A-256: a workflow registers its agent, and a second run gets the same id', async w => {
  await w.trust({ branch: 'main' })

  const first = await w.registerAgent({ 'agent-description': 'Deploys acme' })
  const second = await w.registerAgent({ 'agent-description': 'Says something else by now' })

  assert.deepEqual([first.code, second.code], [0, 0])
  assert.match(first.outputs['agent-id'] ?? '', /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/)
  assert.equal(second.outputs['agent-id'], first.outputs['agent-id'])
  const agent = await w.admin('GET', `/api/v1/agents/${first.outputs['agent-id'] ?? ''}`)
  assert.deepEqual([agent['name'], agent['description'], agent['revision']], [NAME, 'Deploys acme', 1])
})
