import assert from 'node:assert/strict'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import * as net from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as tls from 'node:tls'
import { execute } from './program.ts'

/** TLS before a port of this machine, with a certificate that only its own file vouches for. */
export class Tls {
  readonly #server: tls.Server
  readonly #folder: string
  /** The certificate, which is its own authority. */
  readonly authority: string

  private constructor(server: tls.Server, folder: string, authority: string) {
    this.#server = server
    this.#folder = folder
    this.authority = authority
  }

  static async start(host: string, port: number): Promise<Tls> {
    const folder = await mkdtemp(join(tmpdir(), 'agentidp-tls-'))
    const key = join(folder, 'key.pem'), cert = join(folder, 'cert.pem')
    const made = await execute('openssl', ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2',
      '-subj', `/CN=${host}`, '-addext', `subjectAltName=DNS:${host}`, '-keyout', key, '-out', cert], { env: { PATH: process.env['PATH'] ?? '' } })
    assert.equal(made.code, 0, made.stderr)
    const server = tls.createServer({ key: await readFile(key), cert: await readFile(cert) }, socket => { connect(socket, net.connect(port, '127.0.0.1')) })
    server.on('tlsClientError', () => undefined) // whoever does not trust it hangs up
    await new Promise<void>(done => server.listen(0, '127.0.0.1', done))
    return new Tls(server, folder, cert)
  }

  get port(): number {
    return (this.#server.address() as net.AddressInfo).port
  }

  async stop(): Promise<void> {
    this.#server.close()
    await rm(this.#folder, { recursive: true })
  }
}

/** Passes what one socket says to the other, both ways, until either ends. */
export function connect(a: net.Socket, b: net.Socket): void {
  a.pipe(b).pipe(a)
  a.on('error', () => b.destroy())
  b.on('error', () => a.destroy())
}
