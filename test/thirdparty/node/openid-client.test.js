// openid-client is what most programs in JavaScript have. It finds everything by
// discovery, and authenticates by its own default unless it is told how.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as client from 'openid-client'
import { discover, read, refusal } from './oauth.js'
import { ACCESS_TOKEN, JWT, JWT_BEARER, TOKEN_EXCHANGE, world } from './world.js'

let as
const w = world(async () => { as = await discover(w.issuer) })

/** The configuration of an agent. The server speaks plain http on loopback, which openid-client has to be allowed. */
function discovery(agent, secret, authentication, algorithm) {
  return client.discovery(new URL(w.issuer), agent, secret, authentication, { algorithm, execute: [client.allowInsecureRequests] })
}

/** An agent that authenticates in one of the ways there are, and its configuration. */
const ways = {
  'its default': async () => {
    const agent = await w.agent()
    return { agent, config: await discovery(agent, await w.secret(agent)) }
  },
  ClientSecretBasic: async () => {
    const agent = await w.agent()
    return { agent, config: await discovery(agent, undefined, client.ClientSecretBasic(await w.secret(agent)), 'oauth2') }
  },
  ClientSecretPost: async () => {
    const agent = await w.agent()
    return { agent, config: await discovery(agent, undefined, client.ClientSecretPost(await w.secret(agent))) }
  },
  PrivateKeyJwt: async () => {
    const agent = await w.agent()
    const { publicKey, privateKey } = await crypto.subtle.generateKey({ name: 'ECDSA', namedCurve: 'P-256' }, true, ['sign', 'verify'])
    await w.publicKey(agent, publicKey, { kid: 'first' })
    return { agent, config: await discovery(agent, undefined, client.PrivateKeyJwt({ key: privateKey, kid: 'first' }), 'oauth2') }
  },
}

for (const [name, way] of Object.entries(ways)) {
  test(`S-023 S-034 S-036 S-040 S-067 a token is got, looked at and ended with ${name}`, async () => {
    const { agent, config } = await way()
    const answer = await client.clientCredentialsGrant(config, { scope: 'deploy:staging' })
    assert.deepEqual([answer.token_type, answer.scope], ['bearer', 'deploy:staging'])
    assert.ok(answer.expiresIn() > 800)
    assert.equal((await read(as, answer.access_token)).sub, agent)
    const said = await client.tokenIntrospection(config, answer.access_token, { token_type_hint: 'access_token' })
    assert.deepEqual([said.active, said.client_id, said.scope], [true, agent, 'deploy:staging'])
    await client.tokenRevocation(config, answer.access_token, { token_type_hint: 'access_token' })
    assert.deepEqual(await client.tokenIntrospection(config, answer.access_token), { active: false })
  })
}

test('S-028 a wrong secret is invalid_client, and a scope too much invalid_scope', async () => {
  const [agent, other] = [await w.agent(), await w.agent()]
  const secret = await w.secret(other)
  for (const authentication of [client.ClientSecretBasic(secret), client.ClientSecretPost(secret)]) {
    const config = await discovery(agent, undefined, authentication)
    for (const call of [() => client.clientCredentialsGrant(config), () => client.tokenIntrospection(config, 'x'), () => client.tokenRevocation(config, 'x')]) {
      assert.deepEqual(await refusal(call()), ['WWWAuthenticateChallengeError', 401, 'invalid_client', 'invalid_client'])
    }
  }
  const config = await discovery(other, secret)
  assert.deepEqual(await refusal(client.clientCredentialsGrant(config, { scope: 'deploy:nowhere' })), ['ResponseBodyError', 400, 'invalid_scope', 'invalid_scope'])
})

test('S-043 S-051 S-053 generic grants: the token of a CI by both, the token that it gave, and a replay', async () => {
  const agent = await w.agent()
  await w.trust(agent)
  const config = await discovery(agent, undefined, client.None())
  const [first, second] = [await w.ciToken(), await w.ciToken()]
  const exchange = token => client.genericGrantRequest(config, TOKEN_EXCHANGE, { subject_token: token, subject_token_type: JWT })
  const { access_token: parent, issued_token_type: type } = await exchange(first)
  const { access_token: token } = await client.genericGrantRequest(config, JWT_BEARER, { assertion: second })
  assert.deepEqual([type, (await read(as, token)).sub], [ACCESS_TOKEN, agent])
  const less = await client.genericGrantRequest(config, TOKEN_EXCHANGE, { subject_token: parent, subject_token_type: ACCESS_TOKEN, scope: 'deploy:staging' })
  assert.equal((await read(as, less.access_token)).scope, 'deploy:staging')
  assert.deepEqual(await refusal(exchange(first)), ['ResponseBodyError', 400, 'invalid_request', 'invalid_token'])
})

test('S-069 S-070 its DPoP handle binds tokens of every grant, and calls our own API', async () => {
  const api = `${w.issuer}/api/v1`
  const agent = await w.agent({ capabilities: ['agents:read'], audiences: [api] })
  await w.trust(agent, { audiences: [api] })
  const config = await discovery(agent, await w.secret(agent))
  const DPoP = client.getDPoPHandle(config, await client.randomDPoPKeyPair())
  const exchange = { subject_token: await w.ciToken(), subject_token_type: JWT }
  for (const answer of [
    await client.clientCredentialsGrant(config, {}, { DPoP }),
    await client.genericGrantRequest(config, TOKEN_EXCHANGE, exchange, { DPoP }),
    await client.genericGrantRequest(config, JWT_BEARER, { assertion: await w.ciToken() }, { DPoP }),
  ]) {
    assert.equal(answer.token_type, 'dpop')
    const url = new URL(`${api}/agents/${agent}`)
    const response = await client.fetchProtectedResource(config, answer.access_token, url, 'GET', null, undefined, { DPoP })
    assert.equal((await response.json()).agentId, agent)
    await assert.rejects(client.fetchProtectedResource(config, answer.access_token, url, 'GET'), client.WWWAuthenticateChallengeError)
  }
})
