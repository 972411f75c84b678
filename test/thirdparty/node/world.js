import assert from 'node:assert/strict'
import { once } from 'node:events'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { connect, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before } from 'node:test'
import { run, secret, start } from './program.js'

/** The service that tokens are for. */
export const AUDIENCE = 'https://deploy.example.com'
export const REPOSITORY = 'acme/deploy'

/** The names of RFC 8693 and RFC 7523. */
export const TOKEN_EXCHANGE = 'urn:ietf:params:oauth:grant-type:token-exchange'
export const JWT_BEARER = 'urn:ietf:params:oauth:grant-type:jwt-bearer'
export const ACCESS_TOKEN = 'urn:ietf:params:oauth:token-type:access_token'
export const JWT = 'urn:ietf:params:oauth:token-type:jwt'

/**
 * A server and a CI for the tests of one file: both are the real program, on ports
 * and with data of their own. The organization has a path in its issuer, which is what
 * libraries get wrong if anything. What has to be asked before the first test is asked
 * when the server is ready.
 */
export function world(ready = async () => {}) {
  const w = new World()
  before(async () => {
    await w.start()
    await ready()
  })
  after(() => w.stop())
  return w
}

class World {
  #cleanups = []
  #data = ''
  #admin = ''
  #request = {}

  /** The organization's. */
  issuer = ''

  async start() {
    const folder = await mkdtemp(join(tmpdir(), 'agentidp-thirdparty-'))
    this.#cleanups.push(() => rm(folder, { recursive: true, force: true }))
    this.#data = join(folder, 'data')
    const [stopCI, ci, url, token] = await start(
      ['emulate', 'github', '--listen', '127.0.0.1:0', '--repository', REPOSITORY, '--ref', 'refs/heads/main', '--key-file', join(folder, 'ci.pem')], {},
      / is (http:\/\/127.0.0.1:\d+)$/, /REQUEST_URL='([^']+)'/, /REQUEST_TOKEN='([^']+)'/)
    this.#cleanups.push(stopCI)
    this.#request = { url, token }
    const door = await this.#door()
    const [stopServer, address] = await start(['serve', '--dev', '--log-format', 'json'], {
      AGENTIDP_LISTEN: '127.0.0.1:0', AGENTIDP_METRICS_LISTEN: 'off', AGENTIDP_DATA_DIR: this.#data, AGENTIDP_DRAIN: '0s',
      AGENTIDP_PUBLIC_URL: door.url, AGENTIDP_GITHUB_ISSUER: ci,
    }, /"AgentIdP is ready".*"address":"127.0.0.1:(\d+)"/)
    this.#cleanups.push(stopServer)
    door.target = Number(address)
    secret(await readFile(join(this.#data, 'master.key'), 'utf8'))
    await this.command('org', 'create', 'acme')
    this.#admin = await this.command('admin', 'token', '--org', 'acme')
    this.issuer = `${door.url}/o/acme`
  }

  async stop() {
    for (const cleanup of this.#cleanups.reverse()) {
      await cleanup()
    }
  }

  /** Listens where the server is to be found. The server has to know its URL before it listens, and takes any port. */
  async #door() {
    const door = { url: '', target: 0 }
    const sockets = new Set()
    const listener = createServer(client => {
      const server = connect(door.target, '127.0.0.1')
      for (const [from, to] of [[client, server], [server, client]]) {
        sockets.add(from)
        from.pipe(to).on('error', () => from.destroy())
        from.on('close', () => sockets.delete(from))
      }
    }).listen(0, '127.0.0.1')
    await once(listener, 'listening')
    this.#cleanups.push(() => {
      listener.close()
      sockets.forEach(socket => socket.destroy())
    })
    door.url = `http://127.0.0.1:${listener.address().port}`
    return door
  }

  /** Runs a command beside the running server. */
  command(...args) {
    return run([...args, '--data-dir', this.#data])
  }

  /** Calls the API as its administrator. */
  async admin(method, path, body) {
    const answer = await fetch(this.issuer + path, {
      method, headers: { authorization: `Bearer ${this.#admin}`, ...body && { 'content-type': 'application/json' } }, body: body && JSON.stringify(body),
    })
    const text = await answer.text()
    assert.ok(answer.ok, `${method} ${path}: ${answer.status} ${text}`)
    return text === '' ? {} : JSON.parse(text)
  }

  #agents = 0

  /** Registers an agent and returns its id. */
  async agent(spec = {}) {
    const name = `agent-${++this.#agents}@acme.example`
    const { agentId } = await this.admin('POST', '/api/v1/agents', { name, capabilities: ['deploy:production', 'deploy:staging'], audiences: [AUDIENCE], ...spec })
    return agentId
  }

  /** Makes a client secret. */
  async secret(agentId) {
    const { clientId, clientSecret } = await this.admin('POST', `/api/v1/agents/${agentId}/credentials`, { type: 'secret' })
    assert.equal(clientId, agentId)
    return secret(clientSecret)
  }

  /** Registers a public key (a CryptoKey) for private_key_jwt. */
  async publicKey(agentId, key, members) {
    const jwk = { ...await crypto.subtle.exportKey('jwk', key), key_ops: undefined, ext: undefined, ...members }
    await this.admin('POST', `/api/v1/agents/${agentId}/credentials`, { type: 'public_key', jwks: { keys: [jwk] } })
  }

  /** Lets the runs of the repository have tokens of an agent. */
  async trust(agentId, policy = {}) {
    const { id } = await this.admin('POST', '/api/v1/oidc/trust-policies', { provider: 'github', repository: REPOSITORY, branch: 'main', agentId, audiences: [AUDIENCE], ...policy })
    return id
  }

  /** A fresh ID token of the CI, as a job gets it. */
  async ciToken(audience = this.issuer) {
    const answer = await fetch(`${this.#request.url}&audience=${encodeURIComponent(audience)}`, { headers: { authorization: `Bearer ${this.#request.token}` } })
    assert.equal(answer.status, 200)
    const { value } = await answer.json()
    return value
  }

  /** An access token of an agent, from a run of the CI, by the exchange's own door. */
  async exchange(agentId) {
    const answer = await fetch(`${this.issuer}/api/v1/oidc/token`, {
      method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ token: await this.ciToken(), agentId }),
    })
    const { access_token: token, code } = await answer.json()
    assert.equal(answer.status, 200, code)
    return token
  }
}
