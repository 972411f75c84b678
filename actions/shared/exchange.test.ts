import assert from 'node:assert/strict'
import { test } from 'node:test'
import { readGrant } from './exchange.ts'
import { Failure } from './failure.ts'

const AGENT = '01993b6e-0000-7000-8000-000000000001'
const TOKEN = 'aaaaaaaaaaaaaaaa.bbbbbbbbbbbbbbbb.cccccccccccccccc'
const GOOD = {
  access_token: TOKEN, token_type: 'Bearer', issued_token_type: 'urn:ietf:params:oauth:token-type:access_token',
  expires_in: 900, expires_at: '2026-11-21T12:15:00Z', agent_id: AGENT, decision_id: '01993b6e-0000-7000-8000-000000000002',
}

function read(body: unknown): unknown {
  return readGrant({ status: 200, body, retryAfter: undefined, requestId: undefined }, AGENT)
}

test('a good answer is read', () => {
  const want = { accessToken: TOKEN, expiresIn: 900, expiresAt: GOOD.expires_at, decisionId: GOOD.decision_id }
  assert.deepEqual(read(GOOD), want)
  assert.deepEqual(read({ ...GOOD, token_type: 'bearer', more: 1 }), want)
})

// what is too short to be a token is never masked, since masking "a" hides every a.
test('A-246 A-247 A-251: an answer that cannot be right is refused, and the message does not repeat it', () => {
  for (const [member, values] of [
    ['access_token', [undefined, null, '', 'a', 'abc', 1, {}, [TOKEN], ` ${TOKEN}`, `${TOKEN}\n`, `${TOKEN}\n::set-output name=x::y`,
      `${TOKEN}%0A::error::x`, `${TOKEN}\nghadelimiter_x`, `${TOKEN}\u0000`, `${TOKEN}"`, 'a'.repeat(16_385)]],
    ['token_type', [undefined, null, 'DPoP', 'N_A', '', 1]],
    ['expires_in', [undefined, null, 0, -1, 1.5, '900', 86_401, 1e308, Infinity]],
    ['expires_at', [undefined, null, '', 'soon', '2026-11-21', '2026-11-21T12:15:00', '2026-11-21T12:15:00+01:00', '2026-13-41T12:15:00Z',
      '2026-11-21T12:15:00Z\n::error::x', 1700000000]],
    ['decision_id', [undefined, null, '', 'x', `${GOOD.decision_id}\n`]],
    ['agent_id', [undefined, null, '', GOOD.decision_id]],
  ] as const) {
    for (const value of values) {
      const message = refusedWith({ ...GOOD, [member]: value })
      assert.ok(message.includes(member), `${member} ${JSON.stringify(value)}: ${message}`)
      assert.ok(!message.includes('aaaa') && !message.includes('::'), message)
    }
  }
})

test('A-251: a body that is no object is refused', () => {
  for (const body of [undefined, null, '', [], 'x', 1, true]) {
    assert.match(refusedWith(body), /cannot be used/)
  }
})

test('a bootstrap answer names no agent', () => {
  const answer = { status: 200, body: GOOD, retryAfter: undefined, requestId: undefined }
  assert.throws(() => readGrant(answer, undefined), Failure)
})

function refusedWith(body: unknown): string {
  try {
    read(body)
  } catch (error) {
    assert.ok(error instanceof Failure)
    return error.said.cause
  }
  assert.fail('it was taken')
}
