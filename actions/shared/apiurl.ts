import { Failure } from './failure.ts'
import * as messages from './messages.ts'

/**
 * Checks the input api-url and returns it as scheme, host, port and, for an
 * organization, its path /o/<slug>: no trailing slash. This is the one audience
 * that an ID token is requested for, so that a token is good for nobody but the
 * server that the workflow's author named.
 */
export function parseApiUrl(input: string): string {
  // Before it is parsed: URL drops tabs and line feeds, and reads \ as /.
  if (!/^https?:\/\/[A-Za-z0-9._:[\]/-]+$/i.test(input)) {
    throw new Failure(messages.apiUrlMalformed())
  }
  let url: URL
  try {
    url = new URL(input)
  } catch {
    throw new Failure(messages.apiUrlMalformed())
  }
  const path = url.pathname.replace(/\/$/, '')
  if (path !== '' && !/^\/o\/[a-z0-9-]{1,63}$/.test(path)) {
    throw new Failure(messages.apiUrlPath(input))
  }
  if (url.protocol !== 'https:' && !isLoopback(url.hostname)) {
    throw new Failure(messages.apiUrlPlainHttp(input))
  }
  return url.origin + path
}

/** Reports whether a host, as URL gives it, is this machine by its very name. */
function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '[::1]' || /^127\.\d+\.\d+\.\d+$/.test(host)
}
