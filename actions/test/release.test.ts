import assert from 'node:assert/strict'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { execute, ROOT } from './program.ts'

const env = { PATH: process.env['PATH'] ?? '', HOME: tmpdir() }
const FILES = ['LICENSE', 'README.md', 'action.yml', 'dist/LICENSES.txt', 'dist/main.mjs', 'dist/post.mjs']

async function git(...args: string[]): Promise<string> {
  const done = await execute('git', args, { env })
  assert.equal(done.code, 0, done.stderr)
  return done.stdout.trim()
}

async function bare(): Promise<{ repo: string; remove: () => Promise<void> }> {
  const repo = await mkdtemp(join(tmpdir(), 'agentidp-release-'))
  await git('init', '-q', '--bare', repo)
  await git('-C', repo, 'config', 'receive.shallowUpdate', 'true') // where the tests run in a shallow clone
  return { repo, remove: () => rm(repo, { recursive: true }) }
}

function script(name: string, ...args: string[]): ReturnType<typeof execute> {
  return execute(join(ROOT, 'scripts', name), args, { env })
}

test('an action goes to a repository of its own, and the major version moves with it', async t => {
  const { repo, remove } = await bare()
  t.after(remove)
  const at = (ref: string): Promise<string> => git('-C', repo, 'rev-parse', ref)

  const first = await script('publish-action.sh', 'issue-token', 'v1.0.0', repo)
  assert.equal(first.code, 0, first.stderr)
  assert.equal(await at('v1'), await at('v1.0.0'))
  assert.equal(await git('-C', repo, 'ls-tree', '-r', '--name-only', 'v1'), FILES.join('\n'))
  assert.equal(await git('-C', repo, 'show', 'v1:dist/post.mjs'), (await readFile(join(ROOT, 'actions/issue-token/dist/post.mjs'), 'utf8')).trim())

  const again = await script('publish-action.sh', 'issue-token', 'v1.0.0', repo)
  assert.deepEqual([again.code, again.stderr], [1, 'v1.0.0 is published; a release does not change\n'])

  const next = await script('publish-action.sh', 'issue-token', 'v1.1.0', repo) // also where only the other action has changed
  assert.equal(next.code, 0, next.stderr)
  assert.deepEqual([await at('v1'), await at('main'), await at('v1~1')], [await at('v1.1.0'), await at('v1.1.0'), await at('v1.0.0')])

  const back = await script('publish-action.sh', 'issue-token', 'v1.0.1', repo)
  assert.deepEqual([back.code, back.stderr], [1, 'v1.1.0 is published; v1 does not move back\n'])
  const major = await script('publish-action.sh', 'issue-token', 'v10.0.0', repo) // begins like v1, and is another
  assert.equal(major.code, 0, major.stderr)
  assert.deepEqual([await at('v1'), await at('v10')], [await at('v1.1.0'), await at('v10.0.0')])
})

test('what is no version is not published', async t => {
  const { repo, remove } = await bare()
  t.after(remove)
  for (const version of ['1.0.0', 'v1', 'v01.0.0', 'v1.0.0-rc1', 'v1.0.0;id', '']) {
    assert.equal((await script('publish-action.sh', 'issue-token', version, repo)).code, 2, version)
    assert.equal((await script('tag-actions.sh', version, repo)).code, 2, version)
  }
  assert.equal(await git('-C', repo, 'for-each-ref'), '')
})

test('the bundles are on a tag of this repository, beside what they were built of', async t => {
  const { repo, remove } = await bare()
  t.after(remove)
  const tagged = await script('tag-actions.sh', 'v1.0.0', repo)
  assert.equal(tagged.code, 0, tagged.stderr)
  const files = await git('-C', repo, 'ls-tree', '-r', '--name-only', 'actions-v1.0.0', 'actions/', 'go.mod')
  for (const file of ['actions/register-agent/dist/main.mjs', 'actions/issue-token/dist/post.mjs', 'actions/shared/exchange.ts', 'go.mod']) {
    assert.ok(files.split('\n').includes(file), `${file} is not on the tag`)
  }
})
