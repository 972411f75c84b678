import { assertFailed, scenario } from './world.ts'

// The snapshot itself checks that no token stands in the log but where it is masked.
scenario('A-245 A-249: a server that repeats the ID token in its error, in a job with debug logging', async w => {
  w.env = { RUNNER_DEBUG: '1', ACTIONS_STEP_DEBUG: 'true' }
  w.idp.interference = {
    answer: (_, body) => {
      const { token } = JSON.parse(body) as { token: string }
      const said = JSON.stringify({ code: token, reason: token, detail: token, message: token, request_id: token, claims: { [token]: token }, details: [{ field: token, reason: token }] })
      return { status: 500, headers: { 'retry-after': '3600', 'x-request-id': token }, body: said }
    },
  }
  assertFailed(await w.registerAgent(), 'Server unavailable')
  w.idp.interference = { answer: (_, body) => ({ status: 500, headers: { 'retry-after': '3600' }, body }) }
  assertFailed(await w.registerAgent(), 'Server unavailable')
})
