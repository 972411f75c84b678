import assert from 'node:assert/strict'
import { Tls } from './tls.ts'
import { assertFailed, scenario } from './world.ts'

scenario('a certificate that nobody vouches for: nothing is sent, and verification cannot be turned off', async w => {
  const tls = await Tls.start('localhost', w.idp.port)
  w.finally(() => tls.stop())
  const url = `https://localhost:${String(tls.port)}`
  w.snapshot.call(url, '«https api-url»')
  assertFailed(await w.registerAgent({ 'api-url': url }), 'TLS failure')
  w.env = { NODE_TLS_REJECT_UNAUTHORIZED: '0', NODE_NO_WARNINGS: '1' }
  assertFailed(await w.registerAgent({ 'api-url': url }), 'TLS failure')
  assert.deepEqual(w.sent.filter(({ to }) => to === 'server'), [])
})
