import assert from 'node:assert/strict'
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import type { Action } from './job.ts'
import { ROOT } from './program.ts'
import { readme } from './readme.ts'

const ACTIONS: Action[] = ['register-agent', 'issue-token']
const SECTIONS = ['Prerequisites', 'Inputs', 'Outputs', 'Example workflow', 'Troubleshooting']

async function headings(action: Action): Promise<string[]> {
  return [...(await readme(action)).matchAll(/^### (.+)$/gm)].map(found => found[1] ?? '')
}

test('each README has its sections, in order', async () => {
  for (const action of ACTIONS) {
    assert.deepEqual([...(await readme(action)).matchAll(/^## (.+)$/gm)].map(found => found[1]), SECTIONS, action)
  }
})

test('each README has the inputs and outputs of its action', async () => {
  for (const action of ACTIONS) {
    const text = await readme(action)
    const yaml = await readFile(join(ROOT, 'actions', action, 'action.yml'), 'utf8')
    const declared = [...yaml.matchAll(/^ {2}([a-z-]+):$/gm)].map(found => found[1])
    assert.deepEqual([...text.matchAll(/^\| `([a-z-]+)` \|/gm)].map(found => found[1]), declared, action)
  }
})

// The snapshots hold what each scenario made an action say.
test('what an action says when something is wrong is a heading of its README', async () => {
  const folder = join(ROOT, 'actions', 'test', 'snapshots')
  for (const file of await readdir(folder)) {
    for (const block of (await readFile(join(folder, file), 'utf8')).split(/^== /m).slice(1)) {
      const action = ACTIONS.find(name => block.startsWith(name))
      assert.ok(action, file)
      for (const [, title = ''] of block.matchAll(/^::(?:error|warning) title=(.*?)::/gm)) {
        assert.ok((await headings(action)).includes(title.replaceAll('%3A', ':').replaceAll('%2C', ',')), `${file}: ${action} has no heading ${title}`)
      }
    }
  }
})

test('every message has a heading, and every heading is a message', async () => {
  const source = await readFile(join(ROOT, 'actions', 'shared', 'messages.ts'), 'utf8')
  const titles = new Set([...source.matchAll(/^ {2,4}title: (['"])(.+)\1,$/gm)].map(found => found[2] ?? ''))
  const all = new Set((await Promise.all(ACTIONS.map(headings))).flat())
  all.delete('Input not usable: agent-name') // of a template
  assert.deepEqual([...all].sort(), [...titles].sort())
})
