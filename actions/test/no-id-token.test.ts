import { scenario, assertFailed } from './world.ts'

scenario('A-258: a job without id-token: write is told which permission it lacks', async w => {
  w.env = { ACTIONS_ID_TOKEN_REQUEST_URL: '', ACTIONS_ID_TOKEN_REQUEST_TOKEN: '' }

  assertFailed(await w.registerAgent(), 'ID token not obtainable')
})
