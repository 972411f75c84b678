import assert from 'node:assert/strict'
import { assertFailed, scenario } from './world.ts'

scenario('A-252: after four attempts it is enough', async w => {
  w.idp.interference = { answer: () => ({ status: 503, headers: { 'retry-after': '0' }, body: '{"code":"temporarily_unavailable"}' }) }

  assertFailed(await w.registerAgent(), 'Server unavailable')
  assert.equal(w.sent.filter(({ to }) => to === 'server').length, 4)
})
