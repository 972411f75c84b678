import { assertFailed, NAME, scenario } from './world.ts'

scenario('a name that somebody else registered is taken, and who has it is not told', async w => {
  await w.trust({ branch: 'main' })
  await w.agent({ name: NAME, owner: 'somebody@acme.example' })

  assertFailed(await w.registerAgent(), 'Agent name taken')
})
