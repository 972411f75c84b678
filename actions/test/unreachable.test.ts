import { assertFailed, scenario } from './world.ts'

scenario('a server that is not there', async w => {
  w.idp.close()
  assertFailed(await w.registerAgent(), 'Server unreachable')
})
