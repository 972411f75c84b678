import { assertFailed, scenario } from './world.ts'

scenario('a server that is not there', async w => {
  // A port that no other test can be given meanwhile.
  assertFailed(await w.registerAgent({ 'api-url': 'http://127.0.0.1:1' }), 'Server unreachable')
})
