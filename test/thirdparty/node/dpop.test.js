// oauth4webapi binds tokens to a key that never leaves it (RFC 9449): at the token
// endpoint, at a service that has its validator, and at our own API.

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer } from 'node:http'
import { after, test } from 'node:test'
import * as oauth from 'oauth4webapi'
import { discover, grant, http, refusal } from './oauth.js'
import { ACCESS_TOKEN, AUDIENCE, JWT, JWT_BEARER, TOKEN_EXCHANGE, world } from './world.js'

let as
const w = world(async () => { as = await discover(w.issuer) })

/** A client's side of DPoP: with a key of its own, and what to change in its proofs. */
async function handle({ alg = 'ES256', change } = {}) {
  return oauth.DPoP({}, await oauth.generateKeyPair(alg), change && { [oauth.modifyAssertion]: change })
}

/** An agent with a secret. */
async function client(spec) {
  const agent = await w.agent(spec)
  return { agent, authentication: oauth.ClientSecretBasic(await w.secret(agent)) }
}

/** A token of a client by its secret, with a proof if it has a handle. */
function bound({ agent, authentication }, DPoP) {
  return grant(as, agent, authentication, 'client_credentials', {}, { DPoP })
}

/** A service behind a door of its own that takes what oauth4webapi's validator takes; it answers with the claims, or with what was wrong. */
async function service() {
  const server = createServer(async (request, response) => {
    const { host } = request.headers
    try {
      const claims = await oauth.validateJwtAccessToken(as, new Request(`http://${host}${request.url}`, { method: request.method, headers: request.headers }), AUDIENCE, http)
      response.end(JSON.stringify(claims))
    } catch (error) {
      response.writeHead(401).end(JSON.stringify({ error: error.message }))
    }
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  after(() => { server.close().closeAllConnections() })
  return new URL(`http://127.0.0.1:${server.address().port}/deployments?dry=1`)
}

/** What a service answers to a token that is presented with a proof, or as a bearer token. */
async function present(token, url, DPoP) {
  const response = await oauth.protectedResourceRequest(token, 'POST', url, new Headers(), null, { DPoP, ...http })
  return response.json()
}

for (const alg of ['ES256', 'RS256', 'Ed25519']) {
  test(`S-069 S-070 a token by client credentials is bound to a key for ${alg}, without a nonce`, async () => {
    assert.ok(as.dpop_signing_alg_values_supported.includes(alg))
    const DPoP = await handle({ alg })
    const { agent, authentication } = await client()
    const response = await oauth.clientCredentialsGrantRequest(as, { client_id: agent }, authentication, {}, { DPoP, ...http })
    assert.equal(response.headers.get('dpop-nonce'), null)
    const answer = await oauth.processClientCredentialsResponse(as, { client_id: agent }, response)
    assert.equal(answer.token_type, 'dpop')
    const claims = await present(answer.access_token, await service(), DPoP)
    assert.deepEqual([claims.sub, claims.cnf], [agent, { jkt: await DPoP.calculateThumbprint() }])
  })
}

test('S-069 a service refuses a bound token with the proof of another key, or with none', async () => {
  const DPoP = await handle()
  const { access_token: token } = await bound(await client(), DPoP)
  const url = await service()
  assert.match((await present(token, url, await handle())).error, /confirmation mismatch/)
  assert.match((await present(token, url)).error, /no DPoP HTTP Header/)
})

for (const { name, type, parameters, refused } of [
  { name: 'token exchange', type: TOKEN_EXCHANGE, parameters: token => ({ subject_token: token, subject_token_type: JWT }), refused: 'invalid_request' },
  { name: 'jwt-bearer', type: JWT_BEARER, parameters: token => ({ assertion: token }), refused: 'invalid_grant' },
]) {
  test(`S-069 the token of a CI gives a bound one by ${name}: again to the same key, to another never`, async () => {
    const agent = await w.agent()
    await w.trust(agent)
    const [DPoP, other] = [await handle(), await handle()]
    const ask = parameters(await w.ciToken())
    const url = await service()
    const answers = []
    for (const _ of ['the first answer, which may get lost', 'the second']) {
      const answer = await grant(as, agent, oauth.None(), type, ask, { DPoP })
      answers.push({ type: answer.token_type, decision: answer.decision_id, ...await present(answer.access_token, url, DPoP) })
    }
    assert.deepEqual([answers[0].type, answers[0].cnf], ['dpop', { jkt: await DPoP.calculateThumbprint() }])
    for (const what of ['jti', 'exp', 'decision']) {
      assert.ok(answers[0][what], what)
      assert.equal(answers[1][what], answers[0][what], what)
    }
    for (const options of [{ DPoP: other }, {}]) {
      assert.deepEqual(await refusal(grant(as, agent, oauth.None(), type, ask, options)), ['ResponseBodyError', 400, refused, 'invalid_token'])
    }
  })
}

test('S-069 a bound token is exchanged with a proof by its key, for one that is bound to it too', async () => {
  const DPoP = await handle()
  const { agent, authentication } = await client()
  const { access_token: token } = await bound({ agent, authentication }, DPoP)
  const ask = options => grant(as, agent, authentication, TOKEN_EXCHANGE, { subject_token: token, subject_token_type: ACCESS_TOKEN, scope: 'deploy:staging' }, options)
  const answer = await ask({ DPoP })
  const claims = await present(answer.access_token, await service(), DPoP)
  assert.deepEqual([answer.token_type, claims.scope, claims.cnf], ['dpop', 'deploy:staging', { jkt: await DPoP.calculateThumbprint() }])
  for (const options of [{ DPoP: await handle() }, {}]) {
    assert.deepEqual((await refusal(ask(options))).slice(0, 2), ['ResponseBodyError', 400])
  }
})

test('S-068 our own API wants the proof, by the key, for the request and once', async () => {
  const api = new URL(`${w.issuer}/api/v1/agents?limit=1`)
  const pair = await oauth.generateKeyPair('ES256')
  const DPoP = oauth.DPoP({}, pair)
  const { access_token: token } = await bound(await client({ capabilities: ['agents:read'], audiences: [`${w.issuer}/api/v1`] }), DPoP)
  const call = DPoP => oauth.protectedResourceRequest(token, 'GET', api, new Headers(), null, { DPoP, ...http })
  for (const _ of ['once', 'again, with a proof of its own']) {
    const response = await call(DPoP)
    assert.deepEqual([response.status, (await response.json()).items.length], [200, 1])
  }
  const changed = change => oauth.DPoP({}, pair, { [oauth.modifyAssertion]: (_, claims) => { change(claims) } })
  const once = changed(claims => { claims.jti = 'the same' })
  await call(once)
  for (const [what, wrong] of [
    ['as a bearer token', undefined],
    ['by another key', await handle()],
    ['a second time', once],
    ['for another path', changed(claims => { claims.htu = `${w.issuer}/api/v1/oidc/decisions` })],
    ['for another method', changed(claims => { claims.htm = 'DELETE' })],
    ['for another token', changed(claims => { claims.ath = claims.ath.split('').reverse().join('') })],
    ['of yesterday', changed(claims => { claims.iat -= 86400 })],
  ]) {
    await assert.rejects(call(wrong), error => {
      assert.ok(error instanceof oauth.WWWAuthenticateChallengeError, `${what}: ${error}`)
      assert.equal(error.status, 401, what)
      assert.ok(!oauth.isDPoPNonceError(error), what)
      assert.ok(error.cause.some(({ scheme, parameters }) => scheme === 'dpop' && ['invalid_token', 'invalid_dpop_proof'].includes(parameters.error)), what)
      return true
    })
  }
})

test('S-068 the token endpoint refuses a proof that is not for this request', async () => {
  const who = await client()
  for (const [what, change] of [
    ['for another endpoint', claims => { claims.htu = as.introspection_endpoint }],
    ['for another method', claims => { claims.htm = 'GET' }],
    ['of yesterday', claims => { claims.iat -= 86400 }],
    ['without an id', claims => { delete claims.jti }],
  ]) {
    const DPoP = await handle({ change: (_, claims) => { change(claims) } })
    assert.deepEqual(await refusal(bound(who, DPoP)), ['ResponseBodyError', 400, 'invalid_dpop_proof', 'invalid_dpop_proof'], what)
  }
  const DPoP = await handle({ change: (_, claims) => { claims.jti = 'the same' } })
  await bound(who, DPoP)
  assert.deepEqual(await refusal(bound(who, DPoP)), ['ResponseBodyError', 400, 'invalid_dpop_proof', 'invalid_dpop_proof'])
})

test('S-037 introspection tells to which key a token is bound', async () => {
  const DPoP = await handle()
  const { agent, authentication } = await client()
  const { access_token: token } = await bound({ agent, authentication }, DPoP)
  const said = await oauth.processIntrospectionResponse(as, { client_id: agent }, await oauth.introspectionRequest(as, { client_id: agent }, authentication, token, http))
  assert.deepEqual([said.active, said.token_type, said.cnf], [true, 'DPoP', { jkt: await DPoP.calculateThumbprint() }])
})
