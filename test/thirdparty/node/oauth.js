import assert from 'node:assert/strict'
import * as oauth from 'oauth4webapi'
import { AUDIENCE } from './world.js'

/** The server speaks plain http, on loopback, which oauth4webapi talks only when told to. */
export const http = { [oauth.allowInsecureRequests]: true }

/** The server's metadata, of RFC 8414 ("oauth2") or as OpenID Connect has it ("oidc"). */
export async function discover(issuer, algorithm = 'oauth2') {
  const url = new URL(issuer)
  return oauth.processDiscoveryResponse(url, await oauth.discoveryRequest(url, { algorithm, ...http }))
}

/** Asks the token endpoint by any grant, and returns what the library makes of the answer. */
export async function grant(as, clientId, authentication, type, parameters, options) {
  const client = { client_id: clientId }
  return oauth.processGenericTokenEndpointResponse(as, client, await oauth.genericTokenEndpointRequest(as, client, authentication, type, parameters, { ...http, ...options }))
}

/** The claims of an access token, as a service reads them that has oauth4webapi's validator of RFC 9068. */
export function read(as, token, audience = AUDIENCE) {
  return oauth.validateJwtAccessToken(as, new Request(audience, { headers: { authorization: `Bearer ${token}` } }), audience, http)
}

/**
 * How a client saw that it was refused: the class of its error, the status, and the
 * error and the code that the server gave. oauth4webapi, and openid-client on top of
 * it, throw for a challenge before they look into a body.
 */
export async function refusal(promise) {
  const error = await promise.then(() => assert.fail('it was not refused'), error => error)
  const body = error instanceof oauth.WWWAuthenticateChallengeError ? await error.response.json() : error.cause
  assert.ok(error.status, error)
  assert.ok(body.error_description, 'a refusal says what was wrong')
  return [error.constructor.name, error.status, body.error, body.code]
}
