import * as core from '@actions/core'
import type { components } from './api.gen.ts'
import type { Claims } from './claims.ts'
import { Failure } from './failure.ts'
import { type Answer, post } from './http.ts'
import { type IDToken, requestIDToken } from './idtoken.ts'
import * as messages from './messages.ts'
import type { Message } from './messages.ts'
import { isUUID, members, refusal } from './refusal.ts'
import { withRetries } from './retry.ts'

type Documented = components['schemas']['ExchangeRequest']
/** What is null is as if it were left out, and here it is left out. */
type Request = { [Name in keyof Documented]: Exclude<Documented[Name], null> }
type Response = components['schemas']['ExchangeResponse']

/** A granted exchange. The access token is masked in the log. */
export interface Grant {
  accessToken: string
  expiresAt: Response['expires_at']
  expiresIn: Response['expires_in']
  decisionId: Response['decision_id']
  /** The claims of the ID token that was exchanged. */
  claims: Claims
}

/**
 * Exchanges an ID token of this run for an access token: of the agent that is
 * named, or without one for a bootstrap token. An ID token is good once and for a
 * few minutes, so every attempt gets a fresh one.
 *
 * @throws Failure
 */
export function exchange(apiUrl: string, wanted: Omit<Request, 'token'>): Promise<Grant> {
  return withRetries(async () => {
    const idToken = await requestIDToken(apiUrl)
    const body: Request = { token: idToken.raw, ...wanted }
    const answer = await post({ url: `${apiUrl}/api/v1/oidc/token`, mediaType: 'application/json', body: JSON.stringify(body) })
    if (answer.status !== 200) {
      throw refusedExchange(answer, apiUrl, wanted.agentId === undefined, idToken)
    }
    const grant = readGrant(answer, wanted.agentId)
    core.setSecret(grant.accessToken) // before anything else happens with it
    return { ...grant, claims: idToken.claims }
  })
}

/** RFC 6750 §2.1, and long enough that masking it harms no other text. */
const TOKEN = /^[A-Za-z0-9._~+/-]{32,16384}={0,2}$/
const INSTANT = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?Z$/
const LONGEST_LIFE_S = 86_400

/** Checks an answer of 200 whole. What is wrong is named, never shown. */
export function readGrant(answer: Answer, agentId: string | undefined): Omit<Grant, 'claims'> {
  const body = members(answer.body)
  const member = <T>(name: keyof Response, good: (value: unknown) => value is T): T => {
    const value = body.get(name)
    if (!good(value)) {
      throw new Failure(messages.unexpectedAnswer(`${name} is missing or not of its form`), { status: answer.status, requestId: answer.requestId })
    }
    return value
  }
  member('token_type', (v): v is string => typeof v === 'string' && v.toLowerCase() === 'bearer')
  member('agent_id', (v): v is string | undefined => v === agentId)
  return {
    accessToken: member('access_token', (v): v is string => typeof v === 'string' && TOKEN.test(v)),
    expiresIn: member('expires_in', (v): v is number => Number.isInteger(v) && Number(v) > 0 && Number(v) <= LONGEST_LIFE_S),
    expiresAt: member('expires_at', (v): v is string => typeof v === 'string' && INSTANT.test(v) && !Number.isNaN(Date.parse(v))),
    decisionId: member('decision_id', isUUID),
  }
}

function refusedExchange(answer: Answer, apiUrl: string, bootstrap: boolean, { claims }: IDToken): Failure {
  return refusal(answer, (_, code, reason) => {
    switch (code) {
      case 'invalid_token': return tokenRefused(reason, apiUrl)
      case 'trust_policy_violation': return bootstrap ? messages.policyNotConfigured(claims) : messages.policyViolation(claims)
      case 'branch_not_permitted': return messages.branchNotPermitted(claims)
      case 'event_not_permitted': return messages.eventNotPermitted(claims)
      case 'condition_not_met': return messages.conditionNotMet()
      case 'repository_identity_changed': return messages.identityChanged()
      case 'agent_not_active': return messages.agentNotActive()
      case 'invalid_scope': return messages.invalidScope()
      case 'invalid_target': return messages.invalidTarget()
      default: return undefined
    }
  }, { claims })
}

function tokenRefused(reason: string, apiUrl: string): Message {
  switch (reason) {
    case 'audience_mismatch': return messages.audienceMismatch(apiUrl)
    case 'token_expired':
    case 'token_not_yet_valid':
    case 'token_too_old': return messages.tokenTimes(reason)
    case 'token_replayed': return messages.tokenReplayed()
    case 'claim_invalid': return messages.claimInvalid()
    default: return messages.tokenNotAccepted()
  }
}
