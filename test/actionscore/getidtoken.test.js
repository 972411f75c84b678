// The toolkit that every action uses, against the emulator: getIDToken() must
// work as it does on GitHub, and its token must stand up to the published keys.
//
// ACTIONS_ID_TOKEN_REQUEST_URL and ACTIONS_ID_TOKEN_REQUEST_TOKEN come from
// outside, as on a runner. The emulator plays acme/deploy at refs/heads/main
// (any event, environment and form of sub):
//
//	agentidp emulate github --listen 127.0.0.1:0 --repository acme/deploy
//
// `go test ./test/actionscore` sets up all of it.

import { getIDToken } from '@actions/core'
import assert from 'node:assert/strict'
import { createPublicKey, verify } from 'node:crypto'
import { test } from 'node:test'

const url = process.env.ACTIONS_ID_TOKEN_REQUEST_URL
const requestToken = process.env.ACTIONS_ID_TOKEN_REQUEST_TOKEN
assert.ok(url && requestToken, 'set ACTIONS_ID_TOKEN_REQUEST_URL and ACTIONS_ID_TOKEN_REQUEST_TOKEN to those of `agentidp emulate github`')

const audience = 'https://idp.example.com/o/acme'

function decode(token) {
  const segments = token.split('.')
  assert.equal(segments.length, 3)
  const [header, claims] = segments.slice(0, 2).map(s => JSON.parse(Buffer.from(s, 'base64url').toString('utf8')))
  return { header, claims, input: segments.slice(0, 2).join('.'), signature: Buffer.from(segments[2], 'base64url') }
}

async function json(address) {
  const response = await fetch(address)
  assert.equal(response.status, 200, address)
  return response.json()
}

test('the audience that was asked for is the one aud', async () => {
  assert.equal(decode(await getIDToken(audience)).claims.aud, audience)
})

test('an audience that needs encoding arrives as it was', async () => {
  const odd = 'https://idp.example.com/?a=1&b=2+3 #ü%'
  assert.equal(decode(await getIDToken(odd)).claims.aud, odd)
})

test("without an audience, aud is GitHub's default", async () => {
  assert.equal(decode(await getIDToken()).claims.aud, 'https://github.com/acme')
})

test('every token is a new one', async () => {
  const [a, b] = await Promise.all([getIDToken(audience), getIDToken(audience)])
  assert.notEqual(decode(a).claims.jti, decode(b).claims.jti)
})

test('the key that discovery leads to verifies the token', async () => {
  const { header, claims, input, signature } = decode(await getIDToken(audience))
  const discovery = await json(`${claims.iss}/.well-known/openid-configuration`)
  assert.equal(discovery.issuer, claims.iss)
  const { keys } = await json(discovery.jwks_uri)
  assert.equal(header.alg, 'RS256')
  assert.equal(header.typ, 'JWT')
  const key = keys.find(k => k.kid === header.kid)
  assert.ok(key, 'kid is not in the key set')
  assert.ok(verify('RSA-SHA256', Buffer.from(input), createPublicKey({ key, format: 'jwk' }), signature))
})

test('the claims are those of a job on GitHub', async () => {
  const { claims } = decode(await getIDToken(audience))
  const { iat, nbf, exp, ...strings } = claims
  for (const [name, value] of Object.entries(strings)) {
    assert.equal(typeof value, 'string', name) // ids and booleans too
  }
  assert.equal(exp - iat, 300)
  assert.equal(iat - nbf, 300)
  assert.ok(Math.abs(iat - Date.now() / 1000) < 60, 'iat is not now')

  assert.equal(claims.repository, 'acme/deploy')
  assert.equal(claims.repository_owner, 'acme')
  assert.equal(claims.ref, 'refs/heads/main')
  assert.equal(claims.ref_type, 'branch')
  assert.match(claims.workflow_ref, /^acme\/deploy\/\.github\/workflows\/[^@]+@refs\/heads\/main$/)
  assert.match(claims.sha, /^[0-9a-f]{40}$/)
  for (const name of ['repository_id', 'repository_owner_id', 'actor_id', 'run_id', 'run_attempt', 'run_number', 'check_run_id']) {
    assert.match(claims[name], /^[1-9][0-9]*$/, name)
  }
  for (const name of ['actor', 'event_name', 'job_workflow_ref', 'job_workflow_sha', 'jti', 'repository_visibility', 'runner_environment', 'sub', 'workflow', 'workflow_sha']) {
    assert.ok(claims[name], name)
  }
})

test('a wrong request token fails with a sentence that names the variable', async t => {
  t.after(() => { process.env.ACTIONS_ID_TOKEN_REQUEST_TOKEN = requestToken })
  process.env.ACTIONS_ID_TOKEN_REQUEST_TOKEN = 'wrong'
  await assert.rejects(getIDToken(audience), error => {
    assert.match(error.message, /Error Code : 401/)
    assert.match(error.message, /ACTIONS_ID_TOKEN_REQUEST_TOKEN/)
    return true
  })
})
