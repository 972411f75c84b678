import assert from 'node:assert/strict'
import { assertFailed, scenario } from './world.ts'

const TOKEN = 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa'
const ID = '01993b6e-0000-7000-8000-000000000001'
const GOOD = { access_token: TOKEN, token_type: 'Bearer', expires_in: 900, expires_at: '2026-11-21T12:15:00Z', decision_id: ID, agent_id: ID }

scenario('A-246 A-247 A-251: answers that would reach into the log or the outputs', async w => {
  for (const body of [
    '', '<html>Log in</html>', '[]', '{}', `"${TOKEN}"`,
    JSON.stringify({ ...GOOD, access_token: '' }),
    JSON.stringify({ ...GOOD, access_token: 'abc' }),
    JSON.stringify({ ...GOOD, access_token: `${TOKEN}\n::set-output name=expires-at::x` }),
    JSON.stringify({ ...GOOD, access_token: `${TOKEN}%0A::error::gone` }),
    JSON.stringify({ ...GOOD, access_token: `${TOKEN}\nghadelimiter_00000000-0000-0000-0000-000000000000` }),
    JSON.stringify({ ...GOOD, expires_at: '2026-11-21T12:15:00Z\n::add-mask::e' }),
    JSON.stringify({ ...GOOD, expires_in: -1 }),
    JSON.stringify({ ...GOOD, expires_in: '900' }),
    JSON.stringify({ ...GOOD, expires_in: 1e12 }),
    JSON.stringify({ ...GOOD, token_type: 'N_A' }),
    JSON.stringify({ ...GOOD, agent_id: '01993b6e-0000-7000-8000-000000000002' }),
    JSON.stringify({ ...GOOD, padding: 'x'.repeat(65_536) }),
  ]) {
    w.idp.interference = { answer: () => ({ status: 200, body }) }
    const step = await w.issueToken({ 'agent-id': ID })
    assertFailed(step, 'Unexpected answer')
    const commands = step.stdout.split('\n').filter(line => line.startsWith('::')).map(line => /^::([a-z-]+)/.exec(line)?.[1])
    assert.deepEqual(commands, ['debug', 'add-mask', 'error'], 'the ID token is masked, and nothing else is commanded')
  }
}, { snapshot: false })
