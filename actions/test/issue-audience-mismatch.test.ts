import { assertFailed, scenario } from './world.ts'

scenario("A-242: an api-url that reaches the server by another name than its own", async w => {
  const id = await w.agent()
  await w.trust({ branch: 'main', agentId: id })
  const other = w.apiUrl.replace('127.0.0.1', 'localhost')
  w.snapshot.call(other, '«other api-url»')

  assertFailed(await w.issueToken({ 'agent-id': id, 'api-url': other }), "Audience mismatch: api-url is not the server's public URL")
})
