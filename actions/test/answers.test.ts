import { assertFailed, scenario } from './world.ts'

// What a server can say for which it takes more than a test wants to set up; and
// Retry-After of an hour, so that nobody waits.
scenario('answers of the server, each with its message', async w => {
  for (const [status, code, title] of [
    [403, 'condition_not_met', 'Condition not met'],
    [503, 'issuer_unreachable', 'Issuer unreachable'],
    [429, 'rate_limited', 'Too many attempts'],
    [429, 'of_a_gateway', 'Too many requests'],
    [500, 'internal_error', 'Server unavailable'],
    [404, 'not_found', 'No AgentIdP at api-url'],
    [403, 'a_code_of_tomorrow', 'Refused'],
  ] as const) {
    const body = JSON.stringify({ code, status, detail: 'Words of the server', message: 'Words of the server', claims: { environment: '', workflow_ref: '' } })
    w.idp.interference = { answer: () => ({ status, headers: { 'retry-after': '3600' }, body }) }
    assertFailed(await w.registerAgent(), title)
  }
})
