import { Failure } from './failure.ts'
import * as messages from './messages.ts'

/**
 * Refuses a runner without files for what a step leaves, before there is anything
 * to leave: the toolkit would print outputs and state as log commands instead.
 *
 * @throws Failure
 */
export function requireFiles(): void {
  if (!process.env['GITHUB_OUTPUT'] || !process.env['GITHUB_STATE']) {
    throw new Failure(messages.runnerTooOld())
  }
}
