// oauth4webapi is an agent that has credentials of its own: it gets tokens, asks what
// they are worth, and ends them.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as oauth from 'oauth4webapi'
import { discover, http, read, refusal } from './oauth.js'
import { AUDIENCE, world } from './world.js'

let as
const w = world(async () => { as = await discover(w.issuer) })

async function clientCredentials(clientId, authentication, parameters = {}) {
  const client = { client_id: clientId }
  return oauth.processClientCredentialsResponse(as, client, await oauth.clientCredentialsGrantRequest(as, client, authentication, parameters, http))
}

async function introspect(clientId, authentication, token) {
  const client = { client_id: clientId }
  return oauth.processIntrospectionResponse(as, client, await oauth.introspectionRequest(as, client, authentication, token, http))
}

async function revoke(clientId, authentication, token) {
  return oauth.processRevocationResponse(await oauth.revocationRequest(as, { client_id: clientId }, authentication, token, http))
}

/** An agent with a key of its own; what PrivateKeyJwt takes. */
async function keyed(alg, members = {}) {
  const agent = await w.agent()
  const { publicKey, privateKey } = await oauth.generateKeyPair(alg, { extractable: true })
  await w.publicKey(agent, publicKey, { alg, use: 'sig', ...members })
  return { agent, key: { key: privateKey, kid: members.kid } }
}

test('S-044 S-072 both documents are found where the issuer has a path, and say the same', async () => {
  const openid = await discover(w.issuer, 'oidc')
  for (const [name, value] of Object.entries(as)) {
    assert.deepEqual(openid[name], value, name)
  }
  assert.deepEqual(
    [as.token_endpoint, as.introspection_endpoint, as.revocation_endpoint], ['token', 'introspect', 'revoke'].map(name => `${w.issuer}/oauth2/${name}`))
})

test('S-050 our own API says which server its tokens are from', async () => {
  const api = new URL(`${w.issuer}/api/v1`)
  const resource = await oauth.processResourceDiscoveryResponse(api, await oauth.resourceDiscoveryRequest(api, http))
  assert.deepEqual(resource.authorization_servers, [w.issuer])
})

for (const [name, authentication] of [['HTTP Basic', oauth.ClientSecretBasic], ['the secret in the body', oauth.ClientSecretPost]]) {
  test(`S-023 S-025 S-060 client credentials by ${name}`, async () => {
    const agent = await w.agent()
    const answer = await clientCredentials(agent, authentication(await w.secret(agent)), { scope: 'deploy:staging' })
    assert.deepEqual([answer.token_type, answer.expires_in, answer.scope, answer.refresh_token], ['bearer', 900, 'deploy:staging', undefined])
    const claims = await read(as, answer.access_token)
    assert.deepEqual([claims.iss, claims.sub, claims.client_id, claims.aud, claims.scope], [w.issuer, agent, agent, AUDIENCE, 'deploy:staging'])
  })
}

// oauth4webapi calls the algorithm of Ed25519 keys by its name of RFC 9864.
for (const [alg, members] of [['ES256', { kid: 'laptop' }], ['ES384', {}], ['RS256', {}], ['Ed25519', {}], ['Ed25519', { alg: 'EdDSA' }]]) {
  test(`S-040 S-041 S-064 private_key_jwt by a key for ${alg} that is registered with ${JSON.stringify(members)}`, async () => {
    assert.ok(as.token_endpoint_auth_signing_alg_values_supported.includes(alg))
    const { agent, key } = await keyed(alg, members)
    const { access_token: token } = await clientCredentials(agent, oauth.PrivateKeyJwt(key))
    assert.equal((await read(as, token)).sub, agent)
  })
}

test('S-042 an assertion may say that it is one, by its type', async () => {
  const { agent, key } = await keyed('ES256')
  const typed = oauth.PrivateKeyJwt(key, { [oauth.modifyAssertion]: header => { header.typ = 'client-authentication+jwt' } })
  await clientCredentials(agent, typed)
})

const wrongClient = ['WWWAuthenticateChallengeError', 401, 'invalid_client', 'invalid_client']

test('S-041 an assertion for the token endpoint is not for the issuer', async () => {
  const { agent, key } = await keyed('ES256')
  const authentication = oauth.PrivateKeyJwt(key, { [oauth.modifyAssertion]: (_, claims) => { claims.aud = as.token_endpoint } })
  assert.deepEqual(await refusal(clientCredentials(agent, authentication)), wrongClient)
})

test('S-040 an assertion is good once', async () => {
  const { agent, key } = await keyed('ES256')
  const authentication = oauth.PrivateKeyJwt(key, { [oauth.modifyAssertion]: (_, claims) => { claims.jti = 'the same' } })
  await clientCredentials(agent, authentication)
  assert.deepEqual(await refusal(clientCredentials(agent, authentication)), wrongClient)
})

test('S-028 who is not the client is told invalid_client, whatever is wrong', async () => {
  const [agent, other] = [await w.agent(), await w.agent()]
  const secret = await w.secret(other)
  const { key } = await keyed('ES256')
  assert.deepEqual(await refusal(clientCredentials(agent, oauth.None())), wrongClient)
  for (const authentication of [oauth.ClientSecretBasic(secret), oauth.ClientSecretPost(secret), oauth.ClientSecretBasic('a%b+c:ü'), oauth.PrivateKeyJwt(key)]) {
    assert.deepEqual(await refusal(clientCredentials(agent, authentication)), wrongClient)
    assert.deepEqual(await refusal(introspect(agent, authentication, 'x')), wrongClient)
    assert.deepEqual(await refusal(revoke(agent, authentication, 'x')), wrongClient)
  }
})

test('S-028 a client that used HTTP Basic is challenged by that', async () => {
  const agent = await w.agent()
  const wrong = oauth.ClientSecretBasic(await w.secret(await w.agent()))
  for (const call of [() => clientCredentials(agent, wrong), () => introspect(agent, wrong, 'x'), () => revoke(agent, wrong, 'x')]) {
    await assert.rejects(call(), error => {
      assert.deepEqual(error.cause.map(({ scheme, parameters }) => [scheme, typeof parameters.realm]), [['basic', 'string']])
      return true
    })
  }
})

test('S-029 S-058 more than the agent may have is refused by name', async () => {
  const agent = await w.agent()
  const authentication = oauth.ClientSecretBasic(await w.secret(agent))
  for (const [parameters, error] of [
    [{ scope: 'deploy:production deploy:nowhere' }, 'invalid_scope'],
    [{ resource: 'https://other.example.com' }, 'invalid_target'],
    [{ audience: 'https://other.example.com' }, 'invalid_target'],
  ]) {
    assert.deepEqual(await refusal(clientCredentials(agent, authentication, parameters)), ['ResponseBodyError', 400, error, error])
  }
})

test('S-036 S-037 a client learns all of its own tokens, and nothing of those of others', async () => {
  const [agent, other] = [await w.agent(), await w.agent()]
  const [own, others] = [oauth.ClientSecretBasic(await w.secret(agent)), oauth.ClientSecretPost(await w.secret(other))]
  const { access_token: token } = await clientCredentials(agent, own)
  const { exp, iat, jti, ...said } = await introspect(agent, own, token)
  assert.deepEqual([exp - iat, typeof jti], [900, 'string'])
  assert.deepEqual([said.active, said.iss, said.sub, said.client_id, said.aud, said.token_type], [true, w.issuer, agent, agent, AUDIENCE, 'Bearer'])
  assert.deepEqual(said.scope.split(' ').sort(), ['deploy:production', 'deploy:staging'])
  assert.deepEqual(await introspect(other, others, token), { active: false })
})

test('S-034 S-035 a client ends its own token, and what is no token is ended too', async () => {
  const { agent, key } = await keyed('ES256')
  const authentication = oauth.PrivateKeyJwt(key)
  const { access_token: token } = await clientCredentials(agent, authentication)
  await revoke(agent, authentication, token)
  assert.deepEqual(await introspect(agent, authentication, token), { active: false })
  await revoke(agent, authentication, token)
  await revoke(agent, authentication, 'what is no token')
})

test('S-034 a client does not end the token of another', async () => {
  const [agent, other] = [await w.agent(), await w.agent()]
  const [own, others] = [oauth.ClientSecretBasic(await w.secret(agent)), oauth.ClientSecretBasic(await w.secret(other))]
  const { access_token: token } = await clientCredentials(agent, own)
  assert.deepEqual(await refusal(revoke(other, others, token)), ['ResponseBodyError', 400, 'unauthorized_client', 'unauthorized_client'])
  assert.equal((await introspect(agent, own, token)).active, true)
})
