import { createPublicKey, type JsonWebKey, verify } from 'node:crypto'
import * as http from 'node:http'
import type { AddressInfo } from 'node:net'

interface Claims { iss: string; aud: string; sub: string; exp: number }

/**
 * A service as anybody would write it: it takes tokens of one issuer that are
 * meant for it, verifies them with the published keys, and answers who called.
 */
export class Service {
  readonly #server: http.Server
  /** Of the server whose tokens count. */
  readonly #issuer: string
  /** The agents that called, with a token that held. */
  readonly callers: string[] = []

  constructor(issuer: string) {
    this.#issuer = issuer
    this.#server = http.createServer((request, response) => {
      this.#caller(request.headers.authorization ?? '').then(
        agent => {
          this.callers.push(agent)
          response.end(`Hello ${agent}\n`)
        },
        () => response.writeHead(401).end(),
      )
    })
  }

  async listen(): Promise<void> {
    await new Promise<void>(done => this.#server.listen(0, '127.0.0.1', done))
  }

  get url(): string {
    return `http://127.0.0.1:${String((this.#server.address() as AddressInfo).port)}`
  }

  close(): void {
    this.#server.closeAllConnections()
    this.#server.close()
  }

  async #caller(authorization: string): Promise<string> {
    const [header = '', payload = '', signature = ''] = authorization.replace(/^Bearer /, '').split('.')
    const { alg, typ, kid } = decode(header) as { alg: string; typ: string; kid: string }
    const { keys } = await (await fetch(`${this.#issuer}/.well-known/jwks.json`)).json() as { keys: (JsonWebKey & { kid: string })[] }
    const key = keys.find(candidate => candidate.kid === kid)
    const { iss, aud, sub, exp } = decode(payload) as Claims
    const good = key !== undefined && alg === 'ES256' && typ === 'at+jwt' && iss === this.#issuer && aud === this.url && exp > Date.now() / 1000 &&
      verify('sha256', Buffer.from(`${header}.${payload}`), { key: createPublicKey({ key, format: 'jwk' }), dsaEncoding: 'ieee-p1363' }, Buffer.from(signature, 'base64url'))
    if (!good) {
      throw new Error('the token does not hold')
    }
    return sub
  }
}

function decode(segment: string): unknown {
  return JSON.parse(Buffer.from(segment, 'base64url').toString('utf8'))
}
