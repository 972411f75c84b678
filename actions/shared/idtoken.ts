import * as core from '@actions/core'
import { readFileSync } from 'node:fs'
import { type Claims, readClaims } from './claims.ts'
import { Failure } from './failure.ts'
import * as messages from './messages.ts'

/** An ID token of this run: a secret, good for one exchange. */
export interface IDToken {
  raw: string
  claims: Claims
}

const TIME_LIMIT_MS = 30_000

/**
 * Requests an ID token from the runner for one audience. The toolkit masks it in
 * the log before it hands it out.
 *
 * @throws Failure that says why there is none
 */
export async function requestIDToken(audience: string): Promise<IDToken> {
  const env = process.env
  if (!env['ACTIONS_ID_TOKEN_REQUEST_URL'] || !env['ACTIONS_ID_TOKEN_REQUEST_TOKEN']) {
    throw new Failure(isFromFork() ? messages.noIDTokenInFork() : messages.noIDTokenPermission())
  }
  let raw: string
  try {
    raw = await within(TIME_LIMIT_MS, core.getIDToken(audience))
  } catch (error) {
    throw serviceFailed(error)
  }
  const claims = readClaims(raw)
  if (claims === undefined) {
    throw new Failure(messages.idTokenService('an answer that is no JWT'))
  }
  return { raw, claims }
}

/** These events run for a fork without write permissions; pull_request_target runs with what its workflow asks for. */
const OF_FORKS = ['pull_request', 'pull_request_review', 'pull_request_review_comment']

/**
 * Reports whether the run is for a pull request from a fork, which gets no ID token
 * whatever its workflow says. One by Dependabot gets one where the permission is
 * asked for.
 */
function isFromFork(): boolean {
  const env = process.env
  if (!OF_FORKS.includes(env['GITHUB_EVENT_NAME'] ?? '') || !env['GITHUB_EVENT_PATH']) {
    return false
  }
  interface Payload { pull_request?: { head?: { repo?: { full_name?: string } | null } } }
  try {
    const payload = JSON.parse(readFileSync(env['GITHUB_EVENT_PATH'], 'utf8')) as Payload
    const head = payload.pull_request?.head
    return head !== undefined && head.repo?.full_name !== env['GITHUB_REPOSITORY'] // null: a fork that was deleted
  } catch {
    return false
  }
}

async function within<T>(milliseconds: number, promise: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const limit = new Promise<never>((_, reject) => {
    timer = setTimeout(() => { reject(new Error('timeout')) }, milliseconds)
  })
  try {
    return await Promise.race([promise, limit])
  } finally {
    clearTimeout(timer)
  }
}

/** The toolkit puts the status into a sentence together with the service's own words; only the status is used. */
function serviceFailed(error: unknown): Failure {
  const text = error instanceof Error ? error.message : ''
  const status = Number(/Error Code : (\d{3})\b/.exec(text)?.[1] ?? 0)
  if (status === 0) {
    return new Failure(messages.idTokenService(text === 'timeout' ? 'no answer within 30 seconds' : 'no usable answer'), {}, {})
  }
  const passing = status === 429 || status >= 500
  return new Failure(messages.idTokenService(`HTTP status ${String(status)}`), {}, passing ? {} : undefined)
}
