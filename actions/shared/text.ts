// Text that others chose (claims, inputs) on its way to the log and the job
// summary. What the server says never gets here: of its answers only codes
// and ids of a fixed form, and names that we know, are used.

const LONGEST = 200

/**
 * Returns s as one line for the log: no control, format or unassigned characters,
 * nothing that the runner reads as a workflow command ("::" opens a line, "##["
 * counts anywhere), and no more than 200 characters.
 */
export function printable(s: string): string {
  const characters = Array.from(oneLine(s).replaceAll('##[', '## [').replace(/^(\s*):/, '$1\u{FFFD}'))
  return characters.length > LONGEST ? characters.slice(0, LONGEST).join('') + '…' : characters.join('')
}

/**
 * Returns s for the job summary, where Markdown and HTML both mean something: all
 * but letters, digits and a few marks are character references.
 */
export function summaryText(s: string): string {
  return oneLine(s).replace(/[^\p{L}\p{N} .,/:;?=+()'"_-]/gu, c => `&#${String(c.codePointAt(0))};`)
}

function oneLine(s: string): string {
  return s.replace(/[\p{C}\p{Zl}\p{Zp}]/gu, '\u{FFFD}')
}

/**
 * Returns value as JSON that can stand between single quotes in a shell and inside
 * a fenced code block: quotes, backticks, and all that is not ASCII, are \u escapes.
 */
export function shellJSON(value: unknown): string {
  return JSON.stringify(value).replace(/['`]|[^\x20-\x7e]/g, c => '\\u' + c.charCodeAt(0).toString(16).padStart(4, '0'))
}
