import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Action } from './job.ts'
import { ROOT } from './program.ts'

/** Returns the README of an action. */
export function readme(action: Action): Promise<string> {
  return readFile(join(ROOT, 'actions', action, 'README.md'), 'utf8')
}

/** Returns the fenced code of a language in a section of a README, as somebody who pastes it gets it. */
export async function codeOf(action: Action, section: string, language: string): Promise<string> {
  const text = (await readme(action)).split(/^## /m).find(part => part.startsWith(`${section}\n`)) ?? ''
  const [, indent = '', code = ''] = new RegExp(`^( *)\`\`\`${language}\n([^]*?)^ *\`\`\`$`, 'm').exec(text) ?? []
  if (code === '') {
    throw new Error(`${action}: the section ${section} has no ${language}`)
  }
  return code.split('\n').map(line => line.startsWith(indent) ? line.slice(indent.length) : line).join('\n')
}
