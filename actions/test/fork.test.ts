import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { assertFailed, scenario } from './world.ts'

scenario('A-258: a pull request from a fork is told that it gets no ID token at all', async w => {
  const folder = await mkdtemp(join(tmpdir(), 'agentidp-event-'))
  w.finally(() => rm(folder, { recursive: true }))
  const event = join(folder, 'event.json')
  w.env = { ACTIONS_ID_TOKEN_REQUEST_URL: '', ACTIONS_ID_TOKEN_REQUEST_TOKEN: '', GITHUB_EVENT_NAME: 'pull_request', GITHUB_EVENT_PATH: event }
  const fork = 'ID token not obtainable in a pull request from a fork'

  await writeFile(event, JSON.stringify({ pull_request: { head: { repo: { full_name: 'stranger/deploy' } } } }))
  assertFailed(await w.registerAgent(), fork)
  await writeFile(event, JSON.stringify({ pull_request: { head: { repo: null } } })) // the fork was deleted
  assertFailed(await w.registerAgent(), fork)
  await writeFile(event, JSON.stringify({ pull_request: { head: { repo: { full_name: 'acme/deploy' } } } }))
  assertFailed(await w.registerAgent(), 'ID token not obtainable')
  w.env['GITHUB_ACTOR'] = 'dependabot[bot]' // gets one where its workflow asks for the permission
  assertFailed(await w.registerAgent(), 'ID token not obtainable')
  await writeFile(event, JSON.stringify({ pull_request: { head: { repo: { full_name: 'stranger/deploy' } } } }))
  w.env['GITHUB_EVENT_NAME'] = 'pull_request_target' // so does this, and it would be the wrong thing to do
  assertFailed(await w.registerAgent(), 'ID token not obtainable')
})
