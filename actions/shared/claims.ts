/** Claims of the run's own ID token, as text. */
export type Claims = Readonly<Partial<Record<(typeof SHOWN)[number], string>>>

/**
 * The claims that may be shown, in the order in which they are: who the run is, as
 * the repository's own people know it anyway. No other claim leaves the token.
 */
export const SHOWN = [
  'repository', 'repository_id', 'repository_owner_id', 'ref', 'ref_type', 'event_name', 'environment',
  'workflow_ref', 'job_workflow_ref', 'actor', 'iss', 'aud', 'iat', 'exp',
] as const

/**
 * Reads the claims of a JWT without verifying it: it comes from the CI itself, and
 * what is read is only shown. Undefined: it is no JWT.
 */
export function readClaims(token: string): Claims | undefined {
  const segments = token.split('.')
  if (segments.length !== 3) {
    return undefined
  }
  let payload: unknown
  try {
    payload = JSON.parse(Buffer.from(segments[1] ?? '', 'base64url').toString('utf8'))
  } catch {
    return undefined
  }
  if (typeof payload !== 'object' || payload === null) {
    return undefined
  }
  const all = new Map(Object.entries(payload))
  const claims: Partial<Record<(typeof SHOWN)[number], string>> = {}
  for (const name of SHOWN) {
    const value: unknown = all.get(name)
    if (typeof value === 'string') {
      claims[name] = value
    } else if (typeof value === 'number' && Math.abs(value) < 1e11) {
      claims[name] = new Date(value * 1000).toISOString()
    }
  }
  return claims
}
