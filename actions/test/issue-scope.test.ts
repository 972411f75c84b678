import { assertFailed, scenario } from './world.ts'

scenario('more scope, and another audience, than the policy allows are two different messages', async w => {
  const id = await w.agent({ capabilities: ['deploy:staging'] })
  await w.trust({ branch: 'main', agentId: id, audiences: ['https://deploy.acme.example'] })

  assertFailed(await w.issueToken({ 'agent-id': id, scope: 'deploy:production' }), 'Scope not permitted')
  assertFailed(await w.issueToken({ 'agent-id': id, audience: 'https://other.acme.example' }), 'Audience not permitted')
})
