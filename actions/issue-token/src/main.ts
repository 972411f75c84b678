import * as core from '@actions/core'
import { exchange } from '../../shared/exchange.ts'
import { Failure } from '../../shared/failure.ts'
import { apiUrl, optional, required } from '../../shared/inputs.ts'
import * as messages from '../../shared/messages.ts'
import { requireFiles } from '../../shared/outputs.ts'
import { isUUID } from '../../shared/refusal.ts'
import { run, warn } from '../../shared/report.ts'
import { saveIssued } from './state.ts'

/** A job whose token lives shorter than this is told. */
const SHORT_LIFE_S = 120

await run(async () => {
  requireFiles()
  const url = apiUrl()
  const agentId = required('agent-id')
  if (!isUUID(agentId)) {
    throw new Failure(messages.agentIdMalformed(agentId))
  }
  const revoke = optional('revoke') ?? 'true'
  if (revoke !== 'true' && revoke !== 'false') {
    throw new Failure(messages.revokeMalformed(revoke))
  }
  const audience = optional('audience')
  const scope = optional('scope')

  const grant = await exchange(url, {
    agentId,
    ...(audience === undefined ? {} : { audience }),
    ...(scope === undefined ? {} : { scope }),
  })

  if (revoke === 'true') {
    saveIssued({ apiUrl: url, accessToken: grant.accessToken, expiresAt: grant.expiresAt })
  }
  core.setOutput('access-token', grant.accessToken)
  core.setOutput('expires-at', grant.expiresAt)
  core.info(messages.issued(grant.expiresAt, grant.expiresIn))
  if (grant.expiresIn < SHORT_LIFE_S) {
    warn(messages.expiresSoon(grant.expiresIn))
  }
})
