import * as core from '@actions/core'
import * as messages from '../../shared/messages.ts'
import { asFailure, run, warn } from '../../shared/report.ts'
import { revoke } from '../../shared/revoke.ts'
import { readIssued } from './state.ts'

/** As far as this clock may be ahead of the server's, for which the token is good until then. */
const CLOCK_SKEW_MS = 60_000

// The job's work is done: whatever goes wrong here does not fail it.
await run(async () => {
  try {
    const issued = readIssued()
    if (issued === undefined) {
      return
    }
    core.setSecret(issued.accessToken) // a process of its own; the runner knows it already
    if (Date.parse(issued.expiresAt) + CLOCK_SKEW_MS < Date.now()) {
      core.info(messages.expiredBeforeTheEnd(issued.expiresAt))
      return
    }
    await revoke(issued.apiUrl, issued.accessToken)
    core.info(messages.revoked())
  } catch (error) {
    warn(messages.notRevoked(asFailure(error).said))
  }
})
