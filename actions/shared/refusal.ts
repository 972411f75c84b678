import type { Answer } from './http.ts'
import type { Claims } from './claims.ts'
import { Failure, type Facts, type Retry } from './failure.ts'
import * as messages from './messages.ts'
import type { Message } from './messages.ts'

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/
const CODE = /^[a-z][a-z0-9_]{0,63}$/

/** Reports whether value is a UUID as the server writes one. */
export function isUUID(value: unknown): value is string {
  return typeof value === 'string' && UUID.test(value)
}

/** Which message belongs to a refusal; undefined: none of the caller's own. */
export type Choice = (status: number, code: string, reason: string) => Message | undefined

/**
 * Makes a failure of an answer that is not what was asked for. Of its body only
 * codes and ids of a fixed form, and names that we know, are used, never a sentence: the body is
 * whatever answers at api-url says, and it could repeat a token.
 */
export function refusal(answer: Answer, choose: Choice, seen: { claims?: Claims; decisionId?: string } = {}): Failure {
  const body = members(answer.body)
  const code = match(CODE, body.get('code'))
  const reason = match(CODE, body.get('reason'))
  const fields = fieldNames(body.get('details'))
  const facts: Facts = {
    status: answer.status,
    code,
    reason,
    requestId: [body.get('request_id'), answer.requestId].find(isUUID),
    decisionId: [body.get('decision_id'), seen.decisionId].find(isUUID),
    retryAfter: answer.retryAfter,
    claims: seen.claims,
    checked: [...members(body.get('claims')).keys()],
  }
  const said = choose(answer.status, code ?? '', reason ?? '') ?? usual(answer.status, code ?? '', fields)
  return new Failure(said, facts, retryOf(answer))
}

/** What any operation can answer. */
function usual(status: number, code: string, fields: readonly string[]): Message {
  if (status === 429) {
    return code === 'rate_limited' ? messages.rateLimited() : messages.tooManyRequests()
  }
  if (status >= 500) {
    return code === 'issuer_unreachable' ? messages.issuerUnreachable() : messages.unavailable(status)
  }
  if (status < 400) {
    return messages.unexpectedAnswer(`HTTP ${String(status)}`)
  }
  if (code === 'invalid_request') {
    return messages.invalidRequest(fields)
  }
  if (code === '' || code === 'not_found' || code === 'method_not_allowed') {
    return messages.notThisServer(status)
  }
  return messages.refused(status, code)
}

function retryOf(answer: Answer): Retry | undefined {
  return answer.status === 429 || answer.status >= 500 ? { after: answer.retryAfter } : undefined
}

/** The members of a JSON object; none where it is no object. */
export function members(value: unknown): Map<string, unknown> {
  return new Map(typeof value === 'object' && value !== null ? Object.entries(value) : [])
}

function match(form: RegExp, value: unknown): string | undefined {
  return typeof value === 'string' && form.test(value) ? value : undefined
}

/** The fields that the server names; a message uses those alone that come from an input. */
function fieldNames(details: unknown): string[] {
  const items: unknown[] = Array.isArray(details) ? details : []
  return items.map(item => members(item).get('field')).filter(field => typeof field === 'string')
}
