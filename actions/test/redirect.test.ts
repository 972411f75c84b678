import assert from 'node:assert/strict'
import { Recorder } from './recorder.ts'
import { assertFailed, scenario } from './world.ts'

scenario('A-243: no redirect is followed, whichever it is and wherever it leads', async w => {
  const elsewhere = new Recorder('elsewhere', w.sent)
  await elsewhere.listen()
  w.finally(() => { elsewhere.close() })
  for (const status of [301, 302, 303, 307, 308]) {
    for (const location of [`${elsewhere.url}/api/v1/oidc/token`, '/api/v1/oidc/token']) {
      w.idp.interference = { answer: () => ({ status, headers: { location } }) }
      assertFailed(await w.registerAgent(), 'Redirected')
    }
  }
  assert.deepEqual(w.sent.filter(({ to }) => to === 'server').length, 10)
  assert.deepEqual(w.sent.filter(({ to }) => to === 'elsewhere'), [])
}, { snapshot: false })
