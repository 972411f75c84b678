import assert from 'node:assert/strict'
import { cp, mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { execute, ROOT } from './program.ts'

const ACTIONS = join(ROOT, 'actions')
const PACKAGES = ['@actions', 'tunnel', 'undici', 'esbuild', '@esbuild']
const FILES = ['register-agent/dist/main.mjs', 'register-agent/dist/LICENSES.txt', 'issue-token/dist/main.mjs', 'issue-token/dist/post.mjs', 'issue-token/dist/LICENSES.txt']

test('A-254: the same sources give the same bundles, wherever they are built', async t => {
  const folder = await mkdtemp(join(tmpdir(), 'agentidp-build-'))
  t.after(() => rm(folder, { recursive: true }))
  for (const part of ['package.json', 'build.js', 'shared', 'register-agent/src', 'issue-token/src', ...PACKAGES.map(name => `node_modules/${name}`)]) {
    await cp(join(ACTIONS, part), join(folder, part), { recursive: true })
  }
  const built = await execute(process.execPath, ['build.js'], { env: { PATH: process.env['PATH'] ?? '' }, cwd: folder })
  assert.equal(built.code, 0, built.stderr)
  for (const file of FILES) {
    const [here, there] = await Promise.all([readFile(join(ACTIONS, file)), readFile(join(folder, file))])
    assert.ok(here.equals(there), `${file} is another; was it built of these sources? make actions builds it`)
    assert.ok(!here.includes(ROOT), `${file} names the folder that it was built in`)
  }
})

test('A-254: dependencies are pinned, and few', async () => {
  interface Manifest { dependencies: Record<string, string>; devDependencies: Record<string, string> }
  interface Lock { packages: Record<string, { version?: string; integrity?: string; link?: boolean }> }
  const manifest = JSON.parse(await readFile(join(ACTIONS, 'package.json'), 'utf8')) as Manifest
  assert.ok(Object.keys(manifest.dependencies).length <= 3)
  for (const [name, version] of [...Object.entries(manifest.dependencies), ...Object.entries(manifest.devDependencies)]) {
    assert.match(version, /^\d+\.\d+\.\d+$/, name)
  }
  const lock = JSON.parse(await readFile(join(ACTIONS, 'package-lock.json'), 'utf8')) as Lock
  for (const [path, { integrity }] of Object.entries(lock.packages)) {
    assert.ok(path === '' || integrity?.startsWith('sha512-'), `${path} has no checksum`)
  }
})
