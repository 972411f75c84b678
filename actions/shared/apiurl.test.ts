import assert from 'node:assert/strict'
import { test } from 'node:test'
import { parseApiUrl } from './apiurl.ts'
import { Failure } from './failure.ts'
import type { Message } from './messages.ts'

test('A-242: an api-url that can be used is the audience, in one spelling', () => {
  for (const [input, want] of [
    ['https://idp.sentryagent.ai', 'https://idp.sentryagent.ai'],
    ['https://idp.sentryagent.ai/', 'https://idp.sentryagent.ai'],
    ['https://IDP.sentryagent.ai:443', 'https://idp.sentryagent.ai'],
    ['https://idp.sentryagent.ai:8443/', 'https://idp.sentryagent.ai:8443'],
    ['https://idp.sentryagent.ai/o/acme', 'https://idp.sentryagent.ai/o/acme'],
    ['https://idp.sentryagent.ai/o/acme/', 'https://idp.sentryagent.ai/o/acme'],
    ['http://localhost:8080', 'http://localhost:8080'],
    ['http://127.0.0.1:8080/', 'http://127.0.0.1:8080'],
    ['http://127.8.9.10', 'http://127.8.9.10'],
    ['http://[::1]:8080/o/acme', 'http://[::1]:8080/o/acme'],
    // Another host: its token is good there alone, and it is what the author wrote.
    ['https://idp.sentryagent.ai.evil', 'https://idp.sentryagent.ai.evil'],
  ] as const) {
    assert.equal(parseApiUrl(input), want, input)
  }
})

test('A-242: any other api-url is refused before anything is requested', () => {
  for (const [input, cause] of [
    ['idp.sentryagent.ai', /no plain https URL/],
    ['ftp://idp.sentryagent.ai', /no plain https URL/],
    ['https://', /no plain https URL/],
    ['https://user@idp.sentryagent.ai', /no plain https URL/],
    ['https://user:secret@idp.sentryagent.ai', /no plain https URL/],
    ['https://idp.sentryagent.ai?x=1', /no plain https URL/],
    ['https://idp.sentryagent.ai/?', /no plain https URL/],
    ['https://idp.sentryagent.ai/#a', /no plain https URL/],
    ['https://idp.sentryagent.ai\nhttps://evil.example', /no plain https URL/],
    ['https://idp.sentry\tagent.ai', /no plain https URL/],
    ['https:\\\\idp.sentryagent.ai', /no plain https URL/],
    ['https://idp.sentryagent.ai\\@evil.example', /no plain https URL/],
    ['https://idp.sentryagent.ai%2eevil.example', /no plain https URL/],
    ['https://ıdp.sentryagent.ai', /no plain https URL/],
    ['https://idp.sentryagent.ai:99999', /no plain https URL/],
    ['https://idp.sentryagent.ai/api/v1', /neither empty nor/],
    ['https://idp.sentryagent.ai/o/', /neither empty nor/],
    ['https://idp.sentryagent.ai/o/Acme', /neither empty nor/],
    ['https://idp.sentryagent.ai/o/acme/x', /neither empty nor/],
    ['https://idp.sentryagent.ai//', /neither empty nor/],
    ['https://idp.sentryagent.ai/o/acme//', /neither empty nor/],
    ['http://idp.sentryagent.ai', /plain http/],
    ['http://localhost.evil.example', /plain http/],
    ['http://127.0.0.1.evil.example', /plain http/],
    ['http://10.0.0.1', /plain http/],
    ['http://[::ffff:10.0.0.1]', /plain http/],
    ['http://0.0.0.0:8080', /plain http/],
  ] as const) {
    assert.match(refusedWith(input).cause, cause, input)
  }
})

function refusedWith(input: string): Message {
  try {
    parseApiUrl(input)
  } catch (error) {
    assert.ok(error instanceof Failure)
    return error.said
  }
  assert.fail(`${input} was taken`)
}
