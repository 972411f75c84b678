import * as core from '@actions/core'
import { SHOWN } from './claims.ts'
import { Failure, type Facts } from './failure.ts'
import * as messages from './messages.ts'
import type { Message } from './messages.ts'
import { printable, summaryText } from './text.ts'

/**
 * Runs an action: a failure is told in the log, as an annotation and in the job
 * summary, and fails the step. It ends the process, since a request to the
 * runner's token service that was given up may still be waiting.
 */
export async function run(story: () => Promise<void>): Promise<void> {
  try {
    await story()
  } catch (error) {
    process.exitCode = 1
    await report(asFailure(error))
  }
  process.stdout.write('', () => { process.exit() })
}

/** Returns what was thrown as a failure with a message. */
export function asFailure(error: unknown): Failure {
  return error instanceof Failure ? error : unforeseen(error)
}

/** Shows where an error came from that nobody foresaw. Its text may repeat what it choked on, so that stays out. */
function unforeseen(error: unknown): Failure {
  const { name, stack } = error instanceof Error ? error : new Error()
  for (const line of (stack ?? '').split('\n').filter(line => /^\s+at /.test(line))) {
    core.info(printable(line))
  }
  return new Failure(messages.internal(name))
}

async function report({ said, facts }: Failure): Promise<void> {
  for (const [name, value, mark] of rows(facts)) {
    core.info(`  ${name.padEnd(20)} ${value}${mark === '' ? '' : ` (${mark})`}`)
  }
  core.error(paragraph(said), { title: said.title })
  await writeSummary(failureSummary(said, facts))
}

/** Shows a message that does not fail the step. */
export function warn(said: Message): void {
  core.warning(paragraph(said), { title: said.title })
}

/** Adds to the job summary. A runner without one, or with a full one, changes nothing of how the step ends. */
export async function writeSummary(markdown: string): Promise<void> {
  try {
    await core.summary.addRaw(markdown, true).write()
  } catch {
    core.debug('The job summary could not be written.')
  }
}

function paragraph({ title, cause, remedy }: Message): string {
  return `${title}. ${cause}\n${remedy}`
}

function failureSummary(said: Message, facts: Facts): string {
  const lines = [`### ${summaryText(said.title)}`, '', summaryText(said.cause), '', `**What to do:** ${summaryText(said.remedy)}`, '']
  const all = rows(facts)
  if (all.length > 0) {
    const cells = all.map(([name, value, mark]) => `<tr><td>${name}</td><td>${summaryText(value)}</td><td>${mark}</td></tr>`)
    lines.push('<table>', '<tr><th>This run</th><th></th><th></th></tr>', ...cells, '</table>', '')
  }
  return lines.join('\n')
}

/** What is known beside the message: name, printable value, and a mark on claims that the failed check read, there or not. */
function rows({ status, code, reason, requestId, decisionId, retryAfter, claims, checked }: Facts): [string, string, string][] {
  const known: [string, string | undefined, string][] = SHOWN.map(name => {
    const read = claims !== undefined && checked?.includes(name) === true
    return [name, claims?.[name] ?? (read ? 'not in the token' : undefined), read ? 'read by the check that failed' : '']
  })
  known.push(
    ['HTTP status', status?.toString(), ''], ['code', code, ''], ['reason', reason, ''],
    ['retry after', retryAfter === undefined ? undefined : `${retryAfter.toFixed(0)} s`, ''],
    ['request id', requestId, ''], ['decision id', decisionId, ''],
  )
  return known.flatMap(([name, value, mark]) => value === undefined || value === '' ? [] : [[name, printable(value), mark]])
}
