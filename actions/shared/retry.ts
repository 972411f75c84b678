import * as core from '@actions/core'
import { Failure } from './failure.ts'
import * as messages from './messages.ts'

/** Four attempts at most, within a few seconds where the server does not ask for more. */
export const RETRIES = 3
const FIRST_WAIT_S = 1
const GROWTH = 3
/** A server that asks for more than this is not waited for. */
export const LONGEST_WAIT_S = 60

/** What waiting depends on; tests bring their own. */
export interface Timing {
  random: () => number
  sleep: (seconds: number) => Promise<void>
}

const realTiming: Timing = {
  random: Math.random,
  sleep: seconds => new Promise(done => setTimeout(done, seconds * 1000)),
}

/**
 * Makes attempts until one succeeds or trying again is no use. Between them it
 * waits as long as the server asks (Retry-After), and some more by chance, so that
 * the jobs of a matrix do not come back all at once. Whatever is good only once
 * belongs into the attempt.
 */
export async function withRetries<T>(attempt: () => Promise<T>, timing = realTiming): Promise<T> {
  for (let retries = 0; ; retries++) {
    try {
      return await attempt()
    } catch (error) {
      if (!(error instanceof Failure) || error.retry === undefined || retries === RETRIES) {
        throw error
      }
      const backoff = FIRST_WAIT_S * GROWTH ** retries
      const asked = error.retry.after
      if (asked !== undefined && asked > LONGEST_WAIT_S) {
        throw error
      }
      const wait = asked === undefined ? backoff * (0.5 + timing.random()) : asked + backoff * timing.random()
      core.info(messages.tryingAgain(error.said.title, wait))
      await timing.sleep(wait)
    }
  }
}
