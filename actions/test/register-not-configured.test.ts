import { assertFailed, scenario } from './world.ts'

scenario('a repository without a bootstrap policy is told that its trust policy is not configured', async w => {
  await w.trust({ agentId: await w.agent({ name: 'other@ci.acme.example' }) }) // a policy with an agent permits no registering

  assertFailed(await w.registerAgent(), 'Trust policy not configured')
})
