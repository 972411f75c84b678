import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { execute, ROOT } from './program.ts'
import { codeOf } from './readme.ts'

const ACTIONLINT = join(ROOT, '.tools', 'actionlint-1.7.12')
const WORKFLOWS = join(ROOT, '.github', 'workflows')

test('actionlint has nothing to say of our workflows', async () => {
  const linted = await execute(ACTIONLINT, [], { env: { PATH: process.env['PATH'] ?? '' }, cwd: ROOT })
  assert.equal(linted.code, 0, linted.stdout + linted.stderr)
})

test('nor of the examples in the READMEs', async () => {
  for (const action of ['register-agent', 'issue-token'] as const) {
    await assertClean(await codeOf(action, 'Example workflow', 'yaml'))
  }
})

async function assertClean(workflow: string): Promise<void> {
  const child = spawn(ACTIONLINT, ['-'], { stdio: ['pipe', 'pipe', 'inherit'] })
  let said = ''
  child.stdout.on('data', (text: Buffer) => { said += text.toString() })
  child.stdin.end(workflow)
  const code = await new Promise(done => child.on('close', done))
  assert.equal(code, 0, said)
}

test("nor of the root README's, as the steps of a job", async () => {
  const [, steps = ''] = /```yaml\n([^]+?)```/.exec(await readFile(join(ROOT, 'README.md'), 'utf8')) ?? []
  assert.match(steps, /^- uses: sentryagent\/issue-token@v1\n/)
  const workflow = `on: push\njobs:\n  job:\n    runs-on: ubuntu-latest\n    permissions:\n      id-token: write\n    steps:\n${steps.replace(/^(?=.)/gm, '      ')}`
  await assertClean(workflow)
})

test("A-254: other people's actions are pinned by their commit", async () => {
  for (const file of await readdir(WORKFLOWS)) {
    for (const [, uses = ''] of (await readFile(join(WORKFLOWS, file), 'utf8')).matchAll(/uses: (.+)$/gm)) {
      assert.match(uses, /^(\.\/actions\/[a-z-]+|[a-z-]+\/[a-z-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+)$/, file)
    }
  }
})

// Packages of the build could take whatever the job that runs them has.
test('no job that has a secret or may more than read builds anything', async () => {
  const trusted: string[] = []
  for (const file of await readdir(WORKFLOWS)) {
    const [, jobs = ''] = (await readFile(join(WORKFLOWS, file), 'utf8')).split(/^jobs:\n/m)
    for (const job of jobs.split(/^(?= {2}[a-z-]+:$)/m)) {
      if (/: write\b|\bsecrets\.|^ {4}environment:/m.test(job)) {
        trusted.push(`${file} ${job.slice(2, job.indexOf(':'))}`)
        assert.doesNotMatch(job, /\b(make|npm|npx|node|go) |setup-(go|node)@/, trusted.at(-1))
      }
    }
  }
  assert.deepEqual(trusted, ['release.yml publish', 'smoke.yml smoke'])
})
