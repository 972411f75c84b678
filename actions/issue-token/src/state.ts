import * as core from '@actions/core'

/** What the post step needs to end the token of the main step. */
export interface Issued {
  /** Where the token came from, and so the only place it is sent back to, whatever the input says by then. */
  apiUrl: string
  accessToken: string
  expiresAt: string
}

/**
 * Hands the token to the post step. It goes through a file that the runner reads
 * when this step ends and gives to this action's post step alone; it is masked by
 * then, and the job has it as an output anyway.
 */
export function saveIssued({ apiUrl, accessToken, expiresAt }: Issued): void {
  core.saveState('access-token', accessToken)
  core.saveState('api-url', apiUrl)
  core.saveState('expires-at', expiresAt)
}

/** Returns what the main step left; undefined where there is nothing to revoke. */
export function readIssued(): Issued | undefined {
  const accessToken = core.getState('access-token')
  if (accessToken === '') {
    return undefined
  }
  return { apiUrl: core.getState('api-url'), accessToken, expiresAt: core.getState('expires-at') }
}
