import assert from 'node:assert/strict'
import type { Step } from './job.ts'
import { scenario } from './world.ts'

scenario('A-257: fifty jobs of a matrix, ten at a time: fifty tokens', async w => {
  const id = await w.agent()
  await w.trust({ branch: 'main', agentId: id })
  const steps: Step[] = []
  for (let round = 0; round < 5; round++) {
    steps.push(...await Promise.all(Array.from({ length: 10 }, () => w.issueToken({ 'agent-id': id }))))
  }
  assert.deepEqual(steps.map(({ code }) => code), Array.from({ length: 50 }, () => 0))
  assert.equal(new Set(steps.map(({ outputs }) => outputs['access-token'])).size, 50)
  assert.equal(new Set(w.sent.filter(({ to }) => to === 'CI').map(({ answer }) => answer)).size, 50)
  assert.equal(w.sent.filter(({ to }) => to === 'server').length, 50) // nobody had to come back
}, { snapshot: false })
