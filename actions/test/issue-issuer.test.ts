import { assertFailed, scenario } from './world.ts'

scenario('a CI that the server does not know, and a token without a claim that it needs', async w => {
  const id = await w.agent()
  await w.trust({ branch: 'main', agentId: id })
  await w.runsOn({ claims: ['iss=https://ghes.acme.example/_services/token'] })
  assertFailed(await w.issueToken({ 'agent-id': id }), 'ID token not accepted')
  await w.runsOn({ claims: ['repository_id:='] })
  assertFailed(await w.issueToken({ 'agent-id': id }), 'ID token without a required claim')
})
