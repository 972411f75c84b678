import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { execute, ROOT } from './program.ts'

export type Action = 'register-agent' | 'issue-token'

/** What a step left behind. */
export interface Step {
  code: number | null
  stdout: string
  stderr: string
  outputs: Record<string, string>
  state: Record<string, string>
  summary: string
}

/** Inputs that the runner sets where a workflow does not. */
const DEFAULTS: Record<Action, Record<string, string>> = {
  'register-agent': { 'api-url': '', 'agent-name': '', 'agent-description': '' },
  'issue-token': { 'api-url': '', 'agent-id': '', audience: '', scope: '', revoke: 'true' },
}

/** Runs one bundle as the runner does: inputs in the environment, files for what it leaves, no shell. */
export async function runStep(action: Action, entry: 'main' | 'post', inputs: Record<string, string>, env: Record<string, string>): Promise<Step> {
  const folder = await mkdtemp(join(tmpdir(), 'agentidp-step-'))
  try {
    const file = (name: string): string => join(folder, name)
    const files = { GITHUB_OUTPUT: file('output'), GITHUB_STATE: file('state'), GITHUB_STEP_SUMMARY: file('summary') }
    await Promise.all(Object.values(files).map(path => writeFile(path, '')))
    const given = Object.entries({ ...DEFAULTS[action], ...inputs }).map(([name, value]) => [`INPUT_${name.toUpperCase()}`, value] as const)
    const bundle = join(ROOT, 'actions', action, 'dist', `${entry}.mjs`)
    const ended = await execute(process.execPath, [bundle], { env: { ...files, ...Object.fromEntries(given), ...env }, cwd: folder })
    const [output, state, summary] = await Promise.all(Object.values(files).map(path => readFile(path, 'utf8')))
    return { ...ended, outputs: commands(output ?? ''), state: commands(state ?? ''), summary: summary ?? '' }
  } finally {
    await rm(folder, { recursive: true })
  }
}

/** Reads a file of commands as the runner does: name<<delimiter, the value, the delimiter. */
function commands(text: string): Record<string, string> {
  const found: Record<string, string> = {}
  const lines = text.split('\n')
  for (let at = 0; at < lines.length - 1; at++) {
    const [, name, delimiter] = /^([a-z-]+)<<(ghadelimiter_[0-9a-f-]{36})$/.exec(lines[at] ?? '') ?? []
    const end = lines.indexOf(delimiter ?? '', at + 1)
    if (name === undefined || end < 0 || name in found) {
      throw new Error(`this is no file of commands: line ${String(at + 1)} of ${String(lines.length)}`)
    }
    found[name] = lines.slice(at + 1, end).join('\n')
    at = end
  }
  return found
}
