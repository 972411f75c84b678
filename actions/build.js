// Builds what runs: the bundles of both actions, or (with "tests") those of the
// tests. Everything comes from the lock file and the sources, so the same commit
// gives the same bytes.

import { build } from 'esbuild'
import { readFile, readdir, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'

/** @type {import('esbuild').BuildOptions} */
const common = {
  bundle: true,
  platform: 'node',
  target: 'node20',
  format: 'esm',
  // Dependencies that are CommonJS ask for Node's own modules by require().
  banner: { js: "import { createRequire } from 'node:module'; const require = createRequire(import.meta.url);" },
  absWorkingDir: import.meta.dirname,
  logLevel: 'warning',
}

if (process.argv[2] === 'tests') {
  await buildTests()
} else {
  await buildAction('register-agent', ['main'])
  await buildAction('issue-token', ['main', 'post'])
}

/**
 * @param {string} name
 * @param {string[]} entries
 */
async function buildAction(name, entries) {
  const out = join(name, 'dist')
  const { metafile } = await build({
    ...common,
    entryPoints: entries.map(entry => join(name, 'src', `${entry}.ts`)),
    outdir: out,
    outExtension: { '.js': '.mjs' },
    metafile: true,
  })
  await writeFile(join(import.meta.dirname, out, 'LICENSES.txt'), await licenses(Object.keys(metafile.inputs)))
}

async function buildTests() {
  const folders = ['shared', 'test'].map(async folder =>
    (await readdir(join(import.meta.dirname, folder))).filter(file => file.endsWith('.test.ts')).map(file => join(folder, file)))
  await rm(join(import.meta.dirname, '.build'), { recursive: true, force: true })
  await build({ ...common, entryPoints: (await Promise.all(folders)).flat(), outdir: '.build', outbase: '.', outExtension: { '.js': '.mjs' }, sourcemap: 'inline' })
}

/**
 * The licenses of what was bundled, which ask to go where the code goes.
 *
 * @param {string[]} inputs
 */
async function licenses(inputs) {
  const packages = new Set(inputs.flatMap(file => /^node_modules\/(?:@[^/]+\/)?[^/]+/.exec(file) ?? []))
  const texts = [...packages].sort().map(async folder => {
    const name = folder.slice('node_modules/'.length)
    const file = (await readdir(join(import.meta.dirname, folder))).find(entry => /^licen[cs]e/i.test(entry))
    if (file === undefined) {
      throw new Error(`${name} has no license file`)
    }
    return `${name}\n\n${await readFile(join(import.meta.dirname, folder, file), 'utf8')}`
  })
  return (await Promise.all(texts)).join('\n----\n\n')
}
