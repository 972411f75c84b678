import type { Claims } from './claims.ts'
import type { Message } from './messages.ts'

/** What is known about a failure beside its message; nothing of it is secret. */
export interface Facts {
  /** HTTP status of the answer that the failure comes from. */
  status?: number | undefined
  /** The server's stable code, and what refines it. */
  code?: string | undefined
  reason?: string | undefined
  /** Where an administrator finds it: the server's log, and its record of the decision. */
  requestId?: string | undefined
  decisionId?: string | undefined
  /** Seconds that the server asked to wait. */
  retryAfter?: number | undefined
  /** The run's own claims, for a refusal, and the names of those that the failed check read. */
  claims?: Claims | undefined
  checked?: readonly string[] | undefined
}

/** How a failure may be tried again: in `after` seconds at the earliest. */
export interface Retry {
  after?: number | undefined
}

/** A failure with a message that says what was wrong and what to do about it. */
export class Failure extends Error {
  override readonly name = 'Failure'
  readonly said: Message
  readonly facts: Facts
  /** Absent: trying again is no use. */
  readonly retry: Retry | undefined

  constructor(said: Message, facts: Facts = {}, retry?: Retry) {
    super(said.title)
    this.said = said
    this.facts = facts
    this.retry = retry
  }
}
