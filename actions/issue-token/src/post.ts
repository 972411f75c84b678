import * as core from '@actions/core'
import { Failure } from '../../shared/failure.ts'
import * as messages from '../../shared/messages.ts'
import { run, warn } from '../../shared/report.ts'
import { revoke } from '../../shared/revoke.ts'
import { readIssued } from './state.ts'

await run(async () => {
  const issued = readIssued()
  if (issued === undefined) {
    return
  }
  core.setSecret(issued.accessToken) // a process of its own; the runner knows it already
  if (Date.parse(issued.expiresAt) < Date.now()) {
    warn(messages.expiredBeforeTheEnd(issued.expiresAt))
  }
  try {
    await revoke(issued.apiUrl, issued.accessToken)
    core.info(messages.revoked())
  } catch (error) {
    if (!(error instanceof Failure)) {
      throw error
    }
    warn(messages.notRevoked(error.said))
  }
})
