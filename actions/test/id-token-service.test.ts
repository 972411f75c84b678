import { assertFailed, scenario } from './world.ts'

const TITLE = 'ID token not obtainable: the service failed'

scenario("the CI's service of ID tokens refuses, or answers with something else", async w => {
  w.env = { ACTIONS_ID_TOKEN_REQUEST_TOKEN: 'wrong' }
  assertFailed(await w.registerAgent(), TITLE)
  w.ci.interference = { answer: () => ({ status: 200, body: '{"value":"certainly-no-jwt"}' }) }
  assertFailed(await w.registerAgent(), TITLE)
})
