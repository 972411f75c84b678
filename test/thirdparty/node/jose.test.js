// jose verifies access tokens by the key set alone, as services in JavaScript do.

import { createRemoteJWKSet, errors, jwtVerify } from 'jose'
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { AUDIENCE, world } from './world.js'

const w = world()

/** A service: it knows the issuer, where its keys are and what it is called. */
function service({ audience = AUDIENCE, ...options } = {}) {
  const keys = createRemoteJWKSet(new URL(`${w.issuer}/.well-known/jwks.json`), options)
  return { keys, verify: token => jwtVerify(token, keys, { issuer: w.issuer, audience, typ: 'at+jwt', requiredClaims: ['sub', 'client_id', 'iat', 'exp', 'jti'] }) }
}

async function deployer() {
  const agent = await w.agent()
  await w.trust(agent)
  return agent
}

test('S-017 S-060 a remote key set verifies an access token, its type and its audience', async () => {
  const agent = await deployer()
  const token = await w.exchange(agent)
  const { payload, protectedHeader } = await service().verify(token)
  assert.deepEqual([protectedHeader.typ, protectedHeader.alg], ['at+jwt', 'ES256'])
  assert.deepEqual([payload.iss, payload.sub, payload.client_id, payload.aud], [w.issuer, agent, agent, AUDIENCE])
  assert.equal(payload.exp - payload.iat, 900)
})

test('S-074 a token for one service is refused by another', async () => {
  const token = await w.exchange(await deployer())
  await assert.rejects(service({ audience: 'https://other.example.com' }).verify(token), error => {
    assert.ok(error instanceof errors.JWTClaimValidationFailed)
    assert.deepEqual([error.claim, error.reason], ['aud', 'check_failed'])
    return true
  })
})

test('S-015 the token of the CI, and one of another organization, are none of ours', async () => {
  await assert.rejects(service().verify(await w.ciToken(AUDIENCE)), errors.JWKSNoMatchingKey)
  const other = await w.command('admin', 'token')
  await assert.rejects(service().verify(other), errors.JWKSNoMatchingKey)
})

test('S-048 keys come and go, and a service that follows them refuses nothing good', async () => {
  const agent = await deployer()
  // jose asks for keys that it does not know at most every 30 seconds; a test does not wait.
  const { keys, verify } = service({ cooldownDuration: 0 })
  const rotate = (...args) => w.command('keys', 'rotate', '--org', 'acme', ...args)
  const first = await w.exchange(agent)
  const { protectedHeader: { kid } } = await verify(first)

  // A successor is published before it signs.
  await rotate()
  await keys.reload()
  assert.equal(keys.jwks().keys.length, 2)
  const [next] = keys.jwks().keys.map(key => key.kid).filter(id => id !== kid)
  assert.equal((await verify(await w.exchange(agent))).protectedHeader.kid, kid)

  // The first is given up: the successor signs at once, and is known already.
  await rotate('--compromised', kid)
  const second = await w.exchange(agent)
  assert.equal((await verify(second)).protectedHeader.kid, next)
  await keys.reload()
  await assert.rejects(verify(first), errors.JWKSNoMatchingKey)

  // The second is given up too: who meets an unknown key asks for the keys again.
  await rotate('--compromised', next)
  const { protectedHeader } = await verify(await w.exchange(agent))
  assert.ok(![kid, next].includes(protectedHeader.kid))
  await assert.rejects(verify(second), errors.JWKSNoMatchingKey)
})
