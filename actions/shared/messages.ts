// Every sentence that the actions say, in one place: what is wrong, why, and what
// to do about it. Titles are headings of the READMEs' Troubleshooting. What others
// chose comes in through printable().

import type { Claims } from './claims.ts'
import { policyFor } from './policy.ts'
import { printable } from './text.ts'

/** What a person reads when something is wrong. */
export interface Message {
  title: string
  cause: string
  remedy: string
}

const ADMIN = 'an administrator of AgentIdP'

// Inputs.

export const apiUrlMalformed = (): Message => ({ // not shown: a URL with a user can hold a password
  title: 'Input not usable: api-url',
  cause: 'api-url is no plain https URL.',
  remedy: 'Give scheme and host of the server, such as https://idp.sentryagent.ai, with /o/<slug> for an organization; no user, query or fragment.',
})

export const apiUrlPath = (url: string): Message => ({
  title: 'Input not usable: api-url',
  cause: `api-url is "${printable(url)}"; its path is neither empty nor /o/<slug>.`,
  remedy: "Leave out /api/v1 and whatever follows the host; an organization's URL ends in /o/ and its slug, in lower case.",
})

export const apiUrlPlainHttp = (url: string): Message => ({
  title: 'Input not usable: api-url',
  cause: `api-url is "${printable(url)}": plain http would show the tokens to everybody on the way.`,
  remedy: 'Use https. Plain http is for localhost, 127.0.0.0/8 and [::1] alone.',
})

export const inputMissing = (name: string): Message => ({
  title: `Input not usable: ${name}`,
  cause: `${name} is empty.`,
  remedy: `Set it under "with:". If its value is an expression, the variable, secret or output that it names is empty in this run.`,
})

export const agentIdMalformed = (id: string): Message => ({
  title: 'Input not usable: agent-id',
  cause: `agent-id is "${printable(id)}", which is no agent's id.`,
  remedy: 'Use the output agent-id of register-agent: a UUID in lower case. The name of an agent is not its id.',
})

export const revokeMalformed = (value: string): Message => ({
  title: 'Input not usable: revoke',
  cause: `revoke is "${printable(value)}".`,
  remedy: 'Write true (the default) or false.',
})

/** The input that a field of a request comes from. */
const INPUT_OF_FIELD = new Map([
  ['name', 'agent-name'], ['description', 'agent-description'], ['agentId', 'agent-id'], ['audience', 'audience'], ['scope', 'scope'],
])

export const invalidRequest = (fields: readonly string[]): Message => {
  const inputs = fields.flatMap(field => INPUT_OF_FIELD.get(field) ?? [])
  return {
    title: 'Invalid request',
    cause: inputs.length > 0 ? `The server does not take the value of: ${inputs.join(', ')}.` : 'The server does not take the request.',
    remedy: 'agent-name has the form of an e-mail address (deployer@ci.example.com); audience is an absolute URI; scope is a list of resource:action, separated by spaces.',
  }
}

// The runner.

export const runnerTooOld = (): Message => ({
  title: 'Runner too old',
  cause: 'The runner offers no files for outputs and state (GITHUB_OUTPUT, GITHUB_STATE), and a token is never handed on through the log.',
  remedy: 'Update the runner to 2.297 or newer.',
})

// The ID token.

export const noIDTokenPermission = (): Message => ({
  title: 'ID token not obtainable',
  cause: 'The runner offers no ID token to this job: the job lacks the permission id-token: write.',
  remedy: 'Add "permissions: id-token: write" to the job (and "contents: read" if it checks out: naming one permission withdraws all others). In a reusable workflow, the calling job needs it too.',
})

export const noIDTokenInFork = (): Message => ({
  title: 'ID token not obtainable in a pull request from a fork',
  cause: 'GitHub gives no ID token to runs for pull requests from forks, whatever the workflow says: their code is not trusted.',
  remedy: "Run this job on push, or skip it for such pull requests: if: github.event_name != 'pull_request' || github.event.pull_request.head.repo.full_name == github.repository. Do not use pull_request_target for it: that would hand the identity to code of strangers.",
})

export const idTokenService = (what: string): Message => ({
  title: 'ID token not obtainable: the service failed',
  cause: `The ID-token service of the CI gave no token: ${what}.`,
  remedy: 'Run the job again. If it stays so, see the status page of the CI; with status 401 or 403, see whether the job still holds id-token: write.',
})

// The way to the server.

export const unreachable = (origin: string, code: string): Message => ({
  title: 'Server unreachable',
  cause: `${origin} gave no answer (${printable(code)}).`,
  remedy: "Check api-url, and whether the runner reaches the server: DNS, firewall, a private network that hosted runners are not in. Proxies are taken from https_proxy and no_proxy.",
})

export const tlsFailed = (origin: string, code: string): Message => ({
  title: 'TLS failure',
  cause: `There is no TLS connection to ${origin} that can be verified (${printable(code)}), so nothing was sent.`,
  remedy: "Mend the server's certificate: it must name this host, not be expired, and come with its intermediates. For a private authority, set NODE_EXTRA_CA_CERTS to a file with its certificate in the job's env. Verification cannot be turned off. EPROTO or ERR_SSL_…: does this port speak TLS at all?",
})

export const redirected = (): Message => ({
  title: 'Redirected',
  cause: 'The server answered with a redirect, and a token is never sent on to somewhere else.',
  remedy: 'Set api-url to the address that finally answers: https instead of http, the right host name, no trailing path.',
})

export const notThisServer = (status: number): Message => ({
  title: 'No AgentIdP at api-url',
  cause: `What answers at api-url does not know this operation (HTTP ${String(status)}).`,
  remedy: 'Check api-url: the host, and the slug in /o/<slug>. Does a proxy in front of the server pass /api/ and /oauth2/?',
})

export const unexpectedAnswer = (what: string): Message => ({
  title: 'Unexpected answer',
  cause: `The server's answer cannot be used: ${what}.`,
  remedy: 'Check that api-url is an AgentIdP server, of a version that goes with this action; a proxy or login page in between answers like this too.',
})

export const unavailable = (status: number): Message => ({
  title: 'Server unavailable',
  cause: `The server cannot answer this now (HTTP ${String(status)}).`,
  remedy: `Run the job again later. If it stays so, tell ${ADMIN} the request id.`,
})

export const issuerUnreachable = (): Message => ({
  title: 'Issuer unreachable',
  cause: "The server cannot get the CI's keys, so it can verify no ID token.",
  remedy: `Run the job again later. If it stays so, ${ADMIN} looks into the way from the server to the issuer (claim iss).`,
})

export const rateLimited = (): Message => ({
  title: 'Too many attempts',
  cause: 'The server refused too many exchanges of this repository within a minute.',
  remedy: 'See why the earlier ones were refused, mend that, and run the job again after a minute.',
})

export const tooManyRequests = (): Message => ({
  title: 'Too many requests',
  cause: 'What answers at api-url takes no more requests for now (HTTP 429), and does not say that exchanges were refused: perhaps it is a proxy or gateway before the server.',
  remedy: 'Run the job again later. If it stays so, ask whoever runs the server, or what is before it, for the limit.',
})

// The exchange refused.

export const policyNotConfigured = (c: Claims): Message => {
  const policy = policyFor({ ...c, repository: printable(c.repository ?? 'owner/name'), ref: printable(c.ref ?? '') }, 'github')
  const nowhere = policy['branch'] === undefined && policy['tag'] === undefined
  return {
    title: 'Trust policy not configured',
    cause: `The server has no bootstrap trust policy for the repository ${printable(c.repository ?? '')}: one with this repository and no agentId.`,
    remedy: `Have ${ADMIN} create it: ${JSON.stringify(policy)}. ${nowhere ? 'It takes any branch, so run the job on one: the ref of this run is none, nor a tag. ' : ''}The README's Prerequisites has the command. A policy with an agentId does not permit registering.`,
  }
}

export const policyViolation = (c: Claims): Message => ({
  title: 'Trust policy violation',
  cause: `The server has no trust policy for the repository ${printable(c.repository ?? '')} and this agent.`,
  remedy: `Check agent-id, and have ${ADMIN} create the policy: the summary of register-agent shows it ready to paste. A bootstrap policy (without agentId) gives no agent's token.`,
})

export const branchNotPermitted = (c: Claims): Message => ({
  title: 'Branch not permitted',
  cause: `A trust policy for this repository exists, and its branch or tag is another; this run is for ${printable(c.ref ?? 'no ref')}.`,
  remedy: `Run it on the branch of the policy, or have ${ADMIN} change the policy. Without "branch" it takes any branch, but never a pull request; for tags it needs "tag".`,
})

export const eventNotPermitted = (c: Claims): Message => ({
  title: 'Event not permitted',
  cause: `The trust policy does not list the event that started this run: ${printable(c.event_name ?? 'none')}.`,
  remedy: `Start the job by push, workflow_dispatch, schedule or release. pull_request_target, workflow_run, issue_comment and the like can be caused by strangers; they pass only where ${ADMIN} lists them under "events".`,
})

export const conditionNotMet = (): Message => ({
  title: 'Condition not met',
  cause: 'A trust policy for this repository exists, and one of its further conditions is not met: environment, workflow, or another claim.',
  remedy: `Compare the marked claims with what was agreed: does the job name its environment, and is it in the right workflow file? Under the decision id, ${ADMIN} finds what was expected.`,
})

export const identityChanged = (): Message => ({
  title: 'Repository identity changed',
  cause: 'The name is that of a trusted repository, but the repository or its owner is another than when it was first seen (transferred, or deleted and made anew).',
  remedy: `If that is right, tell ${ADMIN}, who can accept the new identity (repin). If nobody transferred it, somebody may have taken over the name.`,
})

export const agentNotActive = (): Message => ({
  title: 'Agent not active',
  cause: 'The agent is suspended or decommissioned.',
  remedy: `Ask ${ADMIN} to reactivate it; a decommissioned agent stays so, and another has to be registered.`,
})

export const invalidScope = (): Message => ({
  title: 'Scope not permitted',
  cause: 'The input scope asks for more than the trust policy and the agent\'s capabilities allow.',
  remedy: `Ask for less, or leave scope out to get all that is allowed; ${ADMIN} gives the agent capabilities.`,
})

export const invalidTarget = (): Message => ({
  title: 'Audience not permitted',
  cause: 'The input audience is not listed in the trust policy.',
  remedy: `Have ${ADMIN} add it to the policy's "audiences", exactly as written here, or leave audience out to get the policy's first.`,
})

export const tokenNotAccepted = (): Message => ({
  title: 'ID token not accepted',
  cause: 'The server does not know the issuer of this ID token (claim iss), or cannot verify its signature.',
  remedy: `Have ${ADMIN} check the providers: GitHub Enterprise Server, ghe.com and enterprises with an issuer of their own need a provider each. The server's log names the issuer.`,
})

export const audienceMismatch = (apiUrl: string): Message => ({
  title: "Audience mismatch: api-url is not the server's public URL",
  cause: `The ID token was requested for ${printable(apiUrl)}, and the server goes by another URL.`,
  remedy: `Set api-url to the server's public URL, letter for letter: the member "issuer" of <api-url>/.well-known/openid-configuration, if you trust what answers there. Or have ${ADMIN} correct AGENTIDP_PUBLIC_URL.`,
})

export const tokenTimes = (reason: string): Message => ({
  title: 'ID token expired, or a clock is wrong',
  cause: `The server does not accept the times of an ID token that was requested a moment ago (${printable(reason)}).`,
  remedy: 'Set the clocks of the runner and of the server (NTP); 60 seconds are tolerated. Compare iat and exp below with the time of this line in the log.',
})

export const tokenReplayed = (): Message => ({
  title: 'ID token already used',
  cause: 'The server says that this ID token was exchanged before. The action requested a fresh one for every attempt.',
  remedy: 'Run the job again. If it stays so, something between the runner and the server repeats requests, or hands out old tokens.',
})

export const claimInvalid = (): Message => ({
  title: 'ID token without a required claim',
  cause: "The ID token lacks a claim that the server requires, or has it in another form.",
  remedy: `Tell ${ADMIN} the decision id: is the provider of the right kind for this CI?`,
})

// The registration refused.

export const agentsUnauthorized = (): Message => ({
  title: 'POST /agents answered 401',
  cause: 'The server issued a bootstrap token and then did not accept it: its trust policy was changed or deleted in between, or a proxy in front of the server drops the header Authorization.',
  remedy: `Run the job again. If it stays so, have ${ADMIN} look at the bootstrap policy (mode, expiresAt) and the proxy.`,
})

export const nameTaken = (name: string): Message => ({
  title: 'Agent name taken',
  cause: `Another repository, or an administrator, has registered an agent named "${printable(name)}".`,
  remedy: `Choose another agent-name. If the agent is meant to be this repository's, use its id with issue-token; ${ADMIN} creates the trust policy for it.`,
})

export const agentDecommissioned = (name: string): Message => ({
  title: 'Agent decommissioned',
  cause: `The agent "${printable(name)}" was decommissioned, which is final; its name is never given again.`,
  remedy: 'Choose another agent-name.',
})

export const agentLimitReached = (): Message => ({
  title: 'Too many agents',
  cause: 'The bootstrap policy permits no more agents.',
  remedy: `Use the same agent-name in every run (not one with a run id), or have ${ADMIN} decommission agents or raise "maxAgents".`,
})

export const nameNotPermitted = (name: string): Message => ({
  title: 'Agent name not permitted',
  cause: `The bootstrap policy does not permit the name "${printable(name)}".`,
  remedy: `Choose a name of the agreed form, or have ${ADMIN} change the policy's "agentNamePattern".`,
})

// Whatever else.

export const refused = (status: number, code: string): Message => ({
  title: 'Refused',
  cause: `The server refused with HTTP ${String(status)}, ${code === '' ? 'without a code' : `code ${code}`}.`,
  remedy: `Tell ${ADMIN} the request id; the server may be newer than this action.`,
})

export const internal = (name: string): Message => ({
  title: 'Error in the action',
  cause: `The action failed with ${printable(name)}, which it should not.`,
  remedy: 'Please report it, with the lines above.',
})

// Said while all is well, or nearly.

export const tryingAgain = (title: string, seconds: number): string => `${title}; trying again in ${seconds.toFixed(1)} s`

export const issued = (expiresAt: string, seconds: number): string => `Token issued; it expires at ${expiresAt}, in ${String(seconds)} seconds`

export const expiresSoon = (seconds: number): Message => ({
  title: 'Token expires too quickly',
  cause: `The token is good for only ${String(seconds)} seconds.`,
  remedy: `Issue it right before it is used, or have ${ADMIN} raise the trust policy's "tokenTtlSeconds" (3600 at most); check its "expiresAt".`,
})

export const expiredBeforeTheEnd = (expiresAt: string): string =>
  `The token expired at ${expiresAt}, so there is nothing to revoke. If a step was refused for it: issue the token right before it is used, once more for a later step, or have ${ADMIN} raise the trust policy's "tokenTtlSeconds" (3600 at most).`

export const revoked = (): string => 'The token is revoked.'

export const notRevoked = (why: Message): Message => ({
  title: 'Token not revoked',
  cause: `The token goes on until it expires: ${why.title}. ${why.cause}`,
  remedy: `The job is not affected. If the token has to end now, ${ADMIN} ends it (POST /api/v1/tokens/revoke with the agentId).`,
})

export const registered = (agentId: string, fresh: boolean): string =>
  fresh ? `Registered the agent ${agentId}` : `The agent ${agentId} was registered before; nothing changed`
