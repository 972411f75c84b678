import * as core from '@actions/core'
import { Failure } from './failure.ts'
import * as messages from './messages.ts'

/** Four attempts at most, within a few seconds where the server does not ask for more. */
const RETRIES = 3
const FIRST_WAIT_S = 1
const GROWTH = 3
/** A server that asks for more than this is not waited for. */
const LONGEST_WAIT_S = 60
/** No attempt begins later than this after the first one. */
const TIME_LIMIT_S = 180

/** What waiting depends on, in seconds; tests bring their own. */
export interface Timing {
  random: () => number
  now: () => number
  sleep: (seconds: number) => Promise<void>
}

const realTiming: Timing = {
  random: Math.random,
  now: () => performance.now() / 1000,
  sleep: seconds => new Promise(done => setTimeout(done, seconds * 1000)),
}

/**
 * Makes attempts until one succeeds or trying again is no use. Between them it
 * waits as long as the server asks (Retry-After), and some more by chance, so that
 * the jobs of a matrix do not come back all at once. Whatever is good only once
 * belongs into the attempt.
 */
export async function withRetries<T>(attempt: () => Promise<T>, timing = realTiming): Promise<T> {
  const start = timing.now()
  for (let retries = 0; ; retries++) {
    try {
      return await attempt()
    } catch (error) {
      if (!(error instanceof Failure) || error.retry === undefined || retries === RETRIES) {
        throw error
      }
      const backoff = FIRST_WAIT_S * GROWTH ** retries
      const asked = error.retry.after
      const wait = asked === undefined ? backoff * (0.5 + timing.random()) : asked + backoff * timing.random()
      if ((asked ?? 0) > LONGEST_WAIT_S || timing.now() + wait > start + TIME_LIMIT_S) {
        throw error
      }
      core.info(messages.tryingAgain(error.said.title, wait))
      await timing.sleep(wait)
    }
  }
}
