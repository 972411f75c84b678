import assert from 'node:assert/strict'
import { assertFailed, scenario } from './world.ts'

scenario('A-242: inputs that cannot be used are refused before anything is sent', async w => {
  const id = '01993b6e-0000-7000-8000-000000000001'
  assertFailed(await w.registerAgent({ 'api-url': '' }), 'Input not usable: api-url')
  assertFailed(await w.registerAgent({ 'api-url': 'http://idp.sentryagent.ai' }), 'Input not usable: api-url')
  assertFailed(await w.registerAgent({ 'api-url': 'https://idp.sentryagent.ai/api/v1' }), 'Input not usable: api-url')
  assertFailed(await w.registerAgent({ 'api-url': 'https://user:password@idp.sentryagent.ai' }), 'Input not usable: api-url')
  assertFailed(await w.registerAgent({ 'agent-name': '  ' }), 'Input not usable: agent-name')
  assertFailed(await w.issueToken({}), 'Input not usable: agent-id')
  assertFailed(await w.issueToken({ 'agent-id': 'deployer@ci.acme.example' }), 'Input not usable: agent-id')
  assertFailed(await w.issueToken({ 'agent-id': id.toUpperCase() }), 'Input not usable: agent-id')
  assertFailed(await w.issueToken({ 'agent-id': id, revoke: 'no' }), 'Input not usable: revoke')
  assert.equal(w.sent.length, 0)
})
