import { post } from './http.ts'
import { refusal } from './refusal.ts'
import { withRetries } from './retry.ts'

/**
 * Ends an access token (RFC 7009). Presenting it is the proof, so no other
 * credential is sent; one that has expired or was revoked before is no failure.
 *
 * @throws Failure
 */
export function revoke(apiUrl: string, accessToken: string): Promise<void> {
  return withRetries(async () => {
    const answer = await post({
      url: `${apiUrl}/oauth2/revoke`,
      mediaType: 'application/x-www-form-urlencoded',
      body: new URLSearchParams({ token: accessToken, token_type_hint: 'access_token' }).toString(),
    })
    if (answer.status !== 200) {
      throw refusal(answer, () => undefined)
    }
  })
}
