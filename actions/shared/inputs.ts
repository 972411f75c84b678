import * as core from '@actions/core'
import { parseApiUrl } from './apiurl.ts'
import { Failure } from './failure.ts'
import * as messages from './messages.ts'

/** Returns an input, or undefined where it is not set: GitHub makes no difference between that and empty. */
export function optional(name: string): string | undefined {
  return core.getInput(name) || undefined
}

/** Returns an input that must be there. */
export function required(name: string): string {
  const value = optional(name)
  if (value === undefined) {
    throw new Failure(messages.inputMissing(name))
  }
  return value
}

/** Returns the input api-url, checked and without a trailing slash. */
export function apiUrl(): string {
  return parseApiUrl(required('api-url'))
}
