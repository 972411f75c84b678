import { HttpClient } from '@actions/http-client'
import * as http from 'node:http'
import * as https from 'node:https'
import { Failure } from './failure.ts'
import * as messages from './messages.ts'

/** What came back, whole. */
export interface Answer {
  status: number
  /** Parsed JSON; undefined where the body is none. */
  body: unknown
  /** Seconds, of Retry-After. */
  retryAfter: number | undefined
  /** The server's id of the request, of X-Request-Id. */
  requestId: string | undefined
}

/** One request with its answer may take this long; the server gives up after ten seconds. */
const TIME_LIMIT_MS = 15_000
const LARGEST_BODY = 64 * 1024

/** Where, as whom, and what of which media type. */
export interface Request {
  url: string
  mediaType: 'application/json' | 'application/x-www-form-urlencoded'
  body: string
  bearer?: string
}

/**
 * Sends one POST. Redirects are not followed: whoever they lead to is not whom the
 * token is for. Proxies are those of the runner's environment (https_proxy,
 * no_proxy; never for loopback), and certificates are verified whatever
 * NODE_TLS_REJECT_UNAUTHORIZED says; a private authority comes with
 * NODE_EXTRA_CA_CERTS.
 *
 * @throws Failure where there is no answer, or one that sends us elsewhere
 */
export async function post(request: Request, timeLimit = TIME_LIMIT_MS): Promise<Answer> {
  const { status, headers, text } = await send(request, timeLimit).catch((error: unknown) => {
    throw error instanceof Failure ? error : failed(request.url, error)
  })
  if (status >= 300 && status < 400) {
    throw new Failure(messages.redirected(), { status })
  }
  return { status, body: parse(text), retryAfter: retryAfter(headers['retry-after']), requestId: single(headers['x-request-id']) }
}

interface Received {
  status: number
  headers: http.IncomingHttpHeaders
  text: string
}

function send({ url, mediaType, body, bearer }: Request, timeLimit: number): Promise<Received> {
  // It knows the runner's proxies; what it would do beyond (redirects, retries,
  // bodies without a limit) is not wanted here.
  const agent = new HttpClient().getAgent(url) as http.Agent & { options: https.AgentOptions }
  agent.options.rejectUnauthorized = true // read also where a proxy tunnels TLS
  const headers: http.OutgoingHttpHeaders = {
    accept: 'application/json',
    'content-type': mediaType,
    'content-length': Buffer.byteLength(body),
    'user-agent': 'agentidp-actions',
  }
  if (bearer !== undefined) {
    headers['authorization'] = `Bearer ${bearer}`
  }
  const options = { method: 'POST', agent, headers, signal: AbortSignal.timeout(timeLimit) }
  const request = url.startsWith('https:') ? https.request : http.request
  return new Promise((resolve, reject) => {
    const sent = request(url, options, message => {
      read(message).then(
        text => { resolve({ status: message.statusCode ?? 0, headers: message.headers, text }) },
        (error: unknown) => { reject(asError(error)) },
      )
    })
    sent.on('error', reject)
    sent.end(body)
  })
}

async function read(message: http.IncomingMessage): Promise<string> {
  const chunks: Buffer[] = []
  let size = 0
  for await (const chunk of message) {
    const bytes = chunk as Buffer
    size += bytes.length
    if (size > LARGEST_BODY) {
      message.destroy()
      throw new Failure(messages.unexpectedAnswer('a body of more than 64 KiB'), { status: message.statusCode })
    }
    chunks.push(bytes)
  }
  return Buffer.concat(chunks).toString('utf8')
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

function retryAfter(header: string | undefined): number | undefined {
  if (header === undefined) {
    return undefined
  }
  const seconds = /^[A-Z][a-z]{2}, /.test(header) ? (Date.parse(header) - Date.now()) / 1000 : /^\d{1,9}$/.test(header) ? Number(header) : NaN
  return Number.isFinite(seconds) ? Math.max(0, seconds) : undefined
}

function single(header: string | string[] | undefined): string | undefined {
  return typeof header === 'string' ? header : undefined
}

/** What Node calls the ways in which a certificate or a handshake can be wrong. */
const TLS_CODE = /^(ERR_TLS_|ERR_SSL_|CERT_|UNABLE_TO_|SELF_SIGNED_|DEPTH_ZERO_|INVALID_CA|HOSTNAME_MISMATCH|EPROTO$)/

function failed(url: string, error: unknown): Failure {
  const cause = asError(error) as NodeJS.ErrnoException
  const code = cause.name === 'TimeoutError' || cause.name === 'AbortError' ? 'timeout' : (cause.code ?? cause.name)
  const origin = new URL(url).origin
  if (TLS_CODE.test(code)) {
    return new Failure(messages.tlsFailed(origin, code))
  }
  return new Failure(messages.unreachable(origin, code), {}, {})
}

function asError(error: unknown): Error {
  return error instanceof Error ? error : new Error('unknown')
}
