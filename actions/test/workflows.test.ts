import assert from 'node:assert/strict'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import type { Action } from './job.ts'
import { execute, ROOT } from './program.ts'
import { codeOf } from './readme.ts'
import { Service } from './service.ts'
import { scenario, type World } from './world.ts'

const ACT = join(ROOT, '.tools', 'act-0.2.89')
const REPOSITORY = 'org/your-repo'
const PATH = `${dirname(process.execPath)}:${process.env['PATH'] ?? ''}` // act runs actions with the node that it finds

// The examples of both READMEs, as somebody pastes them; only the addresses of the
// server and of the service are those of this machine. act is the runner.
scenario('the examples of the READMEs, from the first policy to a service that takes the token, and once more', async w => {
  await w.runsOn({ repository: REPOSITORY })
  const service = new Service(w.apiUrl)
  await service.listen()
  w.finally(() => { service.close() })
  const local = (text: string): string =>
    text.replaceAll('https://idp.sentryagent.ai', w.apiUrl).replaceAll('https://deploy.example.com', service.url)

  await paste(w, local(await codeOf('register-agent', 'Prerequisites', 'sh')))
  const first = await run(w, local(await codeOf('register-agent', 'Example workflow', 'yaml')))
  const [, id = ''] = /The agent is ([0-9a-f-]{36})/.exec(first) ?? []
  assert.notEqual(id, '', first)

  await paste(w, local(await codeOf('issue-token', 'Prerequisites', 'sh')), { AGENT_ID: id })
  const deploy = local(await codeOf('issue-token', 'Example workflow', 'yaml'))
  for (let round = 1; round <= 2; round++) {
    const log = await run(w, deploy)
    assert.ok(log.includes(`Hello ${id}`), log)
    assert.ok(log.includes('The token is revoked.'), log)
    assert.equal(service.callers.length, round)
    assert.equal(w.sent.filter(({ path, status }) => path === '/oauth2/revoke' && status === 200).length, round)
  }
  const tokens = w.sent.flatMap(({ path, answer }) => path === '/api/v1/oidc/token' ? [(JSON.parse(answer) as { access_token: string }).access_token] : [])
  assert.equal(new Set(tokens).size, 5) // three to register, two for the service
}, { snapshot: false })

/** Runs what a README says that an administrator runs. */
async function paste(w: World, command: string, env: Record<string, string> = {}): Promise<void> {
  const pasted = await execute('bash', ['-ec', command], { env: { PATH, AGENTIDP_TOKEN: w.adminToken, ...env } })
  assert.equal(pasted.code, 0, pasted.stderr)
}

/** Pushes a workflow to a repository of its own and returns what its run printed, which must succeed and hold no token. */
async function run(w: World, workflow: string): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'agentidp-act-'))
  w.finally(() => rm(folder, { recursive: true }))
  await mkdir(join(folder, '.github', 'workflows'), { recursive: true })
  await writeFile(join(folder, '.github', 'workflows', 'example.yml'), workflow)
  const env = { PATH, HOME: folder, GIT_AUTHOR_NAME: 'a', GIT_AUTHOR_EMAIL: 'a@example.com', GIT_COMMITTER_NAME: 'a', GIT_COMMITTER_EMAIL: 'a@example.com' }
  for (const args of [['init', '-qb', 'main'], ['remote', 'add', 'origin', `https://github.com/${REPOSITORY}.git`], ['add', '.'], ['commit', '-qm', 'x']]) {
    const git = await execute('git', args, { env, cwd: folder })
    assert.equal(git.code, 0, git.stderr)
  }
  const mapped = (['register-agent', 'issue-token'] satisfies Action[]).flatMap(action =>
    ['--local-repository', `sentryagent/${action}@v1=${join(ROOT, 'actions', action)}`])
  const request = Object.entries(w.request).filter(([name]) => name.startsWith('ACTIONS_')).flatMap(([name, value]) => ['--env', `${name}=${value}`])
  const ended = await execute(ACT, ['push', '--no-cache-server', '-P', 'ubuntu-latest=-self-hosted', ...mapped, ...request], { env, cwd: folder })
  const log = ended.stdout + ended.stderr
  assert.doesNotMatch(log, /eyJ[A-Za-z0-9_-]{10}/, 'a token is in the log')
  assert.equal(ended.code, 0, log)
  return log
}
