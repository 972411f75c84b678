import assert from 'node:assert/strict'
import { scenario } from './world.ts'

scenario('A-256: a workflow gets a token, which ends with the job', async w => {
  const id = await w.agent({ capabilities: ['deploy:staging', 'deploy:production'] })
  await w.trust({ branch: 'main', agentId: id, audiences: ['https://deploy.acme.example', 'https://logs.acme.example'] })

  const step = await w.issueToken({ 'agent-id': id, audience: 'https://logs.acme.example', scope: 'deploy:staging' })
  assert.equal(step.code, 0)
  const left = Date.parse(step.outputs['expires-at'] ?? '') - Date.now()
  assert.ok(left > 600_000 && left <= 900_000, 'expires-at is not in a quarter of an hour')

  const after = await w.afterIssueToken(step)
  assert.equal(after.code, 0)
})
