// oauth4webapi has no special code for token exchange: its generic grant takes the
// parameters of RFC 8693 and RFC 7523 as they are written there.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as oauth from 'oauth4webapi'
import { discover, grant, http, read, refusal } from './oauth.js'
import { ACCESS_TOKEN, AUDIENCE, JWT, JWT_BEARER, REPOSITORY, TOKEN_EXCHANGE, world } from './world.js'

let as
const w = world(async () => { as = await discover(w.issuer) })

const LOGS = 'https://logs.example.com'

/** The two grants by which a job of the CI gets a token, as a client without a secret: it says who it is and proves it by its ID token. */
const doors = [
  { name: 'token exchange', type: TOKEN_EXCHANGE, parameters: token => ({ subject_token: token, subject_token_type: JWT }), refused: 'invalid_request' },
  { name: 'jwt-bearer', type: JWT_BEARER, parameters: token => ({ assertion: token }), refused: 'invalid_grant' },
]

for (const { name, type, parameters, refused } of doors) {
  test(`S-043 S-051 S-052 S-057 the token of a CI by ${name}`, async () => {
    const agent = await w.agent()
    await w.trust(agent, { audiences: [AUDIENCE, LOGS] })
    const answer = await grant(as, agent, oauth.None(), type, { ...parameters(await w.ciToken()), scope: 'deploy:staging', resource: LOGS })
    assert.deepEqual([answer.token_type, answer.issued_token_type, answer.expires_in, answer.scope, answer.agent_id], ['bearer', ACCESS_TOKEN, 900, 'deploy:staging', agent])
    const claims = await read(as, answer.access_token, LOGS)
    assert.deepEqual([claims.sub, claims.client_id, claims.scope, claims.workload.repository], [agent, agent, 'deploy:staging', REPOSITORY])
  })

  test(`S-053 what is refused of the token of a CI by ${name}`, async () => {
    const [agent, stranger] = [await w.agent(), await w.agent()]
    await w.trust(agent)
    const used = await w.ciToken()
    await grant(as, agent, oauth.None(), type, parameters(used))
    for (const [what, token, client, more, error, code] of [
      ['a replay', used, agent, {}, refused, 'invalid_token'],
      ['one for another server', await w.ciToken('https://idp.example.com'), agent, {}, refused, 'invalid_token'],
      ['no token', 'x.y.z', agent, {}, refused, 'invalid_token'],
      ['an agent that no policy names', await w.ciToken(), stranger, {}, refused, 'trust_policy_violation'],
      ['a scope that the agent does not have', await w.ciToken(), agent, { scope: 'deploy:nowhere' }, 'invalid_scope', 'invalid_scope'],
      ['an audience that the policy does not have', await w.ciToken(), agent, { audience: LOGS }, 'invalid_target', 'invalid_target'],
    ]) {
      assert.deepEqual(await refusal(grant(as, client, oauth.None(), type, { ...parameters(token), ...more })), ['ResponseBodyError', 400, error, code], what)
    }
  })

  test(`S-057 a client that has a secret exchanges the token of a CI for itself alone, by ${name}`, async () => {
    const [agent, other] = [await w.agent(), await w.agent()]
    await w.trust(agent)
    await w.trust(other)
    const authentication = oauth.ClientSecretBasic(await w.secret(agent))
    const { access_token: token } = await grant(as, agent, authentication, type, parameters(await w.ciToken()))
    assert.equal((await read(as, token)).sub, agent)
    const [, , error] = await refusal(grant(as, agent, authentication, type, { ...parameters(await w.ciToken()), agent_id: other }))
    assert.equal(error, 'invalid_request')
    const wrong = oauth.ClientSecretPost(await w.secret(other))
    assert.deepEqual(await refusal(grant(as, agent, wrong, type, parameters(await w.ciToken()))), ['WWWAuthenticateChallengeError', 401, 'invalid_client', 'invalid_client'])
  })
}

/** An agent with a secret, and a token of it. */
async function holder(spec) {
  const agent = await w.agent(spec)
  const authentication = oauth.ClientSecretBasic(await w.secret(agent))
  const { access_token: token } = await grant(as, agent, authentication, 'client_credentials', {})
  return { agent, authentication, token }
}

const subject = token => ({ subject_token: token, subject_token_type: ACCESS_TOKEN })

test('S-051 S-056 an agent exchanges its token for one with less, for another of its services', async () => {
  const { agent, authentication, token } = await holder({ audiences: [AUDIENCE, LOGS] })
  const parent = await read(as, token)
  const answer = await grant(as, agent, authentication, TOKEN_EXCHANGE, { ...subject(token), scope: 'deploy:staging', audience: LOGS })
  const claims = await read(as, answer.access_token, LOGS)
  assert.deepEqual([answer.issued_token_type, answer.scope], [ACCESS_TOKEN, 'deploy:staging'])
  assert.deepEqual([claims.sub, claims.scope, claims.act], [agent, 'deploy:staging', undefined])
  assert.ok(claims.exp <= parent.exp && claims.jti !== parent.jti)
  const more = grant(as, agent, authentication, TOKEN_EXCHANGE, { ...subject(answer.access_token), scope: 'deploy:production' })
  assert.deepEqual(await refusal(more), ['ResponseBodyError', 400, 'invalid_scope', 'invalid_scope'])
})

test('S-056 whoever holds a token gets one with less, but none for another service', async () => {
  const { agent, token } = await holder({ audiences: [AUDIENCE, LOGS] })
  const { access_token: less } = await grant(as, agent, oauth.None(), TOKEN_EXCHANGE, { ...subject(token), scope: 'deploy:staging' })
  assert.equal((await read(as, less)).scope, 'deploy:staging')
  const elsewhere = grant(as, agent, oauth.None(), TOKEN_EXCHANGE, { ...subject(token), audience: LOGS })
  assert.deepEqual(await refusal(elsewhere), ['ResponseBodyError', 400, 'invalid_target', 'invalid_target'])
})

test('S-053 a token that was ended gives no other, nor does what it gave live on', async () => {
  const { agent, authentication, token } = await holder()
  const client = { client_id: agent }
  const { access_token: child } = await grant(as, agent, authentication, TOKEN_EXCHANGE, subject(token))
  await oauth.processRevocationResponse(await oauth.revocationRequest(as, client, authentication, token, http))
  for (const gone of [token, child]) {
    assert.deepEqual((await refusal(grant(as, agent, authentication, TOKEN_EXCHANGE, subject(gone)))).slice(0, 3), ['ResponseBodyError', 400, 'invalid_request'])
  }
  const worth = await oauth.processIntrospectionResponse(as, client, await oauth.introspectionRequest(as, client, authentication, child, http))
  assert.deepEqual(worth, { active: false })
})

test('S-055 only whom an agent named acts for it, and the token says who does', async () => {
  const [actor, stranger] = [await holder(), await holder()]
  const owner = await holder({ mayDelegateTo: [actor.agent] })
  const parameters = ({ token }) => ({ ...subject(owner.token), actor_token: token, actor_token_type: ACCESS_TOKEN, scope: 'deploy:staging' })
  const answer = await grant(as, actor.agent, actor.authentication, TOKEN_EXCHANGE, parameters(actor))
  const claims = await read(as, answer.access_token)
  assert.deepEqual([claims.sub, claims.client_id, claims.act, claims.scope], [owner.agent, owner.agent, { sub: actor.agent }, 'deploy:staging'])
  const [, status, error, code] = await refusal(grant(as, stranger.agent, stranger.authentication, TOKEN_EXCHANGE, parameters(stranger)))
  assert.deepEqual([status, error, code], [400, 'invalid_request', 'delegation_not_permitted'])
})
