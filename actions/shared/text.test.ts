import assert from 'node:assert/strict'
import { test } from 'node:test'
import { printable, shellJSON, summaryText } from './text.ts'

test('A-248: nothing that is printed can be a workflow command', () => {
  for (const [what, input, want] of [
    ['a command', '::error::gone', '\u{FFFD}:error::gone'],
    ['a command behind spaces, which the runner skips', '  ::add-mask::a', '  \u{FFFD}:add-mask::a'],
    ['a command in a second line', 'main\n::error::gone', 'main\u{FFFD}::error::gone'],
    ['the old form, which counts anywhere', 'a##[add-mask]b', 'a## [add-mask]b'],
    ['a carriage return and an escape sequence', 'a\r\u001b[31mb', 'a\u{FFFD}\u{FFFD}[31mb'],
    ['separators that some terminals break lines at', 'a\u2028b\u2029c', 'a\u{FFFD}b\u{FFFD}c'],
    ['text that is turned around', 'a\u202Eb', 'a\u{FFFD}b'],
    ['half a character', 'a\uD800b', 'a\u{FFFD}b'],
    ['an ordinary branch', 'feature/größe-#12', 'feature/größe-#12'],
  ] as const) {
    assert.equal(printable(input), want, what)
  }
})

test('what is printed has an end', () => {
  assert.equal(printable('ä'.repeat(200)), 'ä'.repeat(200))
  assert.equal(printable('😀'.repeat(1000)), '😀'.repeat(200) + '…')
})

test('text in the job summary is neither HTML nor Markdown', () => {
  const text = summaryText('<img src=x> [a](b) `c` *d* |e| @f & g \\h ~i~ #j !k')
  assert.doesNotMatch(text.replace(/&#\d+;/g, ''), /[<>[\]`*|@&\\~#!]/)
  assert.equal(summaryText('acme/deploy refs/heads/main'), 'acme/deploy refs/heads/main')
  assert.equal(summaryText('größe'), 'größe')
})

test('JSON between single quotes stays one word of the shell, and says the same', () => {
  const value = { branch: "it's `id` $(id) \"x\" \\ ü 😀\n```" }
  const text = shellJSON(value)
  assert.doesNotMatch(text, /['`\n]|[^\x20-\x7e]/)
  assert.deepEqual(JSON.parse(text), value)
})
