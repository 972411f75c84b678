import * as http from 'node:http'
import type { AddressInfo } from 'node:net'

/** One request that an action sent, and what it was answered. */
export interface Exchanged {
  to: string
  method: string
  path: string
  headers: http.IncomingHttpHeaders
  body: string
  status: number
  answer: string
  /** The answer did not arrive. */
  lost: boolean
}

/** An answer that is given in the place of the real one. */
export interface Canned {
  status: number
  headers?: Record<string, string>
  body?: string
}

/** What may happen to a request on its way. */
export interface Interference {
  /** Answers instead of the real one; or lets the request pass and loses its answer; or (undefined) does nothing. */
  answer?: (path: string, body: string) => Canned | 'lose' | undefined
  /** Drops a request header, as a bad proxy does. */
  drop?: string
}

/**
 * A proxy between an action and what it talks to, which writes down all that
 * passes. The requests go on to the real one unless a test interferes.
 */
export class Recorder {
  readonly log: Exchanged[]
  readonly name: string
  target = ''
  port = 0
  interference: Interference = {}
  readonly #server: http.Server

  constructor(name: string, log: Exchanged[]) {
    this.name = name
    this.log = log
    this.#server = http.createServer((request, response) => {
      this.#serve(request, response).catch(() => response.destroy())
    })
  }

  async listen(): Promise<void> {
    await new Promise<void>(done => this.#server.listen(0, '127.0.0.1', done))
    this.port = (this.#server.address() as AddressInfo).port
  }

  get url(): string {
    return `http://127.0.0.1:${String(this.port)}`
  }

  close(): void {
    this.#server.closeAllConnections()
    this.#server.close()
  }

  async #serve(request: http.IncomingMessage, response: http.ServerResponse): Promise<void> {
    const chunks: Buffer[] = []
    for await (const chunk of request) {
      chunks.push(chunk as Buffer)
    }
    const body = Buffer.concat(chunks).toString('utf8')
    const path = request.url ?? ''
    const given = this.interference.answer?.(path, body)
    const { status, headers, body: answer = '' } = given === undefined || given === 'lose' ? await this.#pass(request, path, body) : given
    this.log.push({ to: this.name, method: request.method ?? '', path, headers: request.headers, body, status, answer, lost: given === 'lose' })
    if (given === 'lose') {
      response.destroy()
      return
    }
    response.writeHead(status, headers)
    response.end(answer)
  }

  async #pass(request: http.IncomingMessage, path: string, body: string): Promise<Canned> {
    const headers = new Headers()
    for (const name of ['authorization', 'content-type', 'accept']) {
      const value = request.headers[name]
      if (typeof value === 'string' && name !== this.interference.drop) {
        headers.set(name, value)
      }
    }
    const init = { method: request.method ?? 'GET', headers, redirect: 'manual' as const }
    const answer = await fetch(this.target + path, request.method === 'GET' ? init : { ...init, body })
    const passed = ['content-type', 'retry-after', 'x-request-id'].flatMap(name => {
      const value = answer.headers.get(name)
      return value === null ? [] : [[name, value] as const]
    })
    return { status: answer.status, headers: Object.fromEntries(passed), body: await answer.text() }
  }
}
