import { assertFailed, scenario } from './world.ts'

scenario('POST /agents answers 401 where a proxy drops the header Authorization', async w => {
  await w.trust({ branch: 'main' })
  w.idp.interference = { drop: 'authorization' }

  assertFailed(await w.registerAgent(), 'POST /agents answered 401')
})
