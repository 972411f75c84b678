import assert from 'node:assert/strict'
import { test } from 'node:test'
import { refusal } from './refusal.ts'

const ID = '01993b6e-0000-7000-8000-000000000001'
const OTHER = '01993b6e-0000-7000-8000-000000000002'

function read(status: number, body: unknown, retryAfter?: number): ReturnType<typeof refusal> {
  return refusal({ status, body, retryAfter, requestId: OTHER }, () => undefined)
}

test('A-249: of an answer only codes, ids and names are used', () => {
  const { said, facts } = read(403, {
    code: 'some_code', reason: 'some_reason', request_id: ID, decision_id: ID, title: 'SECRET', detail: 'SECRET', message: 'SECRET',
    claims: { ref: 'SECRET' }, details: [{ field: 'name', reason: 'SECRET' }],
  })
  assert.doesNotMatch(JSON.stringify([said, facts]), /SECRET/)
  assert.deepEqual(facts, {
    status: 403, code: 'some_code', reason: 'some_reason', requestId: ID, decisionId: ID, retryAfter: undefined, claims: undefined, checked: ['ref'],
  })
})

test('A-249: a code, id or name of another form is as if it were not there', () => {
  for (const odd of [1, null, [], {}, '', 'UPPER', 'with space', 'a\nb', 'x'.repeat(65), '::error::']) {
    const { said, facts } = read(403, { code: odd, reason: odd, request_id: odd, decision_id: odd, details: [{ field: odd }, odd] })
    assert.deepEqual([facts.code, facts.reason, facts.requestId, facts.decisionId], [undefined, undefined, OTHER, undefined])
    assert.doesNotMatch(said.cause, /UPPER|space|xxx|::/)
  }
})

test('A-252: only 429 and 5xx are worth another attempt', () => {
  for (const status of [429, 500, 502, 503, 504, 599]) {
    assert.deepEqual(read(status, undefined, 7).retry, { after: 7 }, String(status))
  }
  for (const status of [400, 401, 403, 404, 405, 409, 413, 415, 422]) {
    assert.equal(read(status, { code: 'x' }, 7).retry, undefined, String(status))
  }
})

test('bad fields are named as the inputs that they come from', () => {
  const { said } = read(400, { code: 'invalid_request', details: [{ field: 'name' }, { field: 'description' }, { field: 'SECRET' }, { field: 'constructor' }] })
  assert.equal(said.cause, 'The server does not take the value of: agent-name, agent-description.')
})

test('earlier refusals are blamed only where the server says so', () => {
  assert.equal(read(429, { code: 'rate_limited' }).said.title, 'Too many attempts')
  for (const body of [undefined, '<html>', {}, { code: 'of_a_gateway' }]) {
    assert.equal(read(429, body).said.title, 'Too many requests')
  }
})

test('what does not answer as AgentIdP does is said to be something else', () => {
  assert.match(read(404, '<html>').said.title, /No AgentIdP at api-url/)
  assert.match(read(404, { code: 'not_found' }).said.title, /No AgentIdP at api-url/)
  assert.match(read(204, undefined).said.title, /Unexpected answer/)
})
