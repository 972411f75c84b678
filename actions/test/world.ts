import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { type Action, runStep, type Step } from './job.ts'
import { AGENTIDP, execute, Program } from './program.ts'
import { type Exchanged, Recorder } from './recorder.ts'
import { Snapshot } from './snapshot.ts'

export const REPOSITORY = 'acme/deploy'
export const NAME = 'deployer@ci.acme.example'

/** What the CI says of the run; flags of agentidp emulate github. */
export interface Ci {
  repository?: string
  ref?: string
  event?: string
  claims?: string[]
}

/**
 * A test against a server and a CI of its own: both are the real program, with a
 * recorder before each, which is what the actions talk to. It ends with the
 * comparison of the snapshot, unless that is not what the test is about.
 */
export function scenario(title: string, story: (w: World) => Promise<void>, { snapshot = true } = {}): void {
  void test(title, { timeout: 300_000 }, async () => {
    const w = new World()
    try {
      await w.start()
      await story(w)
      if (snapshot) {
        w.snapshot.check()
      }
    } finally {
      await w.stop()
    }
  })
}

/** Checks that a step failed with the message of this title, in the log and in the summary, and put nothing out. */
export function assertFailed(step: Step, title: string): void {
  assert.equal(step.code, 1)
  assert.deepEqual([step.outputs, step.state], [{}, {}])
  const titles = [...step.stdout.matchAll(/^::error title=(.*?)::/gm)].map(found => found[1]?.replaceAll('%3A', ':').replaceAll('%2C', ','))
  assert.deepEqual(titles, [title])
  assert.match(step.summary, /^### .+\n\n.+\n\n\*\*What to do:\*\* .+\n/)
}

export class World {
  readonly snapshot = new Snapshot()
  /** All that was sent, in order. */
  readonly sent: Exchanged[] = []
  /** Between an action and the server, and between an action and the service that gives ID tokens. */
  readonly idp = new Recorder('server', this.sent)
  readonly ci = new Recorder('CI', this.sent)
  /** More variables for steps. */
  env: Record<string, string> = {}

  #folder = ''
  readonly #cleanups: (() => unknown)[] = []
  #server: Program | undefined
  #emulator: Program | undefined
  #issuer = ''
  #request: Record<string, string> = {}
  #admin = ''
  #prefix = ''

  async start(): Promise<void> {
    this.#folder = await mkdtemp(join(tmpdir(), 'agentidp-actions-'))
    await Promise.all([this.idp.listen(), this.ci.listen()])
    this.snapshot.call(this.idp.url, '«api-url»')
    this.snapshot.call(this.ci.url, '«CI»')
    await this.runsOn({})
    const [server, address] = await Program.start(['serve', '--dev', '--log-format', 'json'], {
      AGENTIDP_LISTEN: '127.0.0.1:0', AGENTIDP_METRICS_LISTEN: 'off', AGENTIDP_PUBLIC_URL: this.idp.url, AGENTIDP_GITHUB_ISSUER: this.#issuer, AGENTIDP_DATA_DIR: this.#data, AGENTIDP_DRAIN: '0s',
    }, /"AgentIdP is ready".*"address":"([^"]+)"/)
    this.#server = server
    this.idp.target = `http://${address ?? ''}`
    this.#admin = await this.#command('admin', 'token')
  }

  /** Makes an organization; from here on its administrator is who acts. */
  async organization(slug: string): Promise<void> {
    await this.#command('org', 'create', slug)
    this.#admin = await this.#command('admin', 'token', '--org', slug)
    this.#prefix = `/o/${slug}`
  }

  /** Runs a command beside the running server. */
  async #command(...args: string[]): Promise<string> {
    const { code, stdout, stderr } = await execute(AGENTIDP, [...args, '--data-dir', this.#data], { env: {} })
    assert.equal(code, 0, stderr)
    return stdout.trim()
  }

  /** Has something done when the scenario ends, however it ends. */
  finally(cleanup: () => unknown): void {
    this.#cleanups.push(cleanup)
  }

  async stop(): Promise<void> {
    for (const cleanup of this.#cleanups) {
      await cleanup()
    }
    this.idp.close()
    this.ci.close()
    await Promise.all([this.#server?.stop(), this.#emulator?.stop()])
    await rm(this.#folder, { recursive: true, force: true })
  }

  get #data(): string {
    return join(this.#folder, 'data')
  }

  get apiUrl(): string {
    return this.idp.url + this.#prefix
  }

  /** What an administrator's commands need. */
  get adminToken(): string {
    return this.#admin
  }

  /** The variables by which a job gets ID tokens. */
  get request(): Record<string, string> {
    return this.#request
  }

  /** Says what the steps from now on run for. The issuer and its key stay the same. */
  async runsOn({ repository = REPOSITORY, ref = 'refs/heads/main', event = 'push', claims = [] }: Ci): Promise<void> {
    await this.#emulator?.stop()
    const flags = ['--repository', repository, '--ref', ref, '--event', event, ...claims.flatMap(claim => ['--claim', claim])]
    const listen = this.#issuer === '' ? '127.0.0.1:0' : this.#issuer.replace('http://', '')
    const [emulator, issuer, url, token] = await Program.start(
      ['emulate', 'github', '--listen', listen, '--key-file', join(this.#folder, 'ci.pem'), ...flags], {},
      / is (http:\/\/127.0.0.1:\d+)$/, /REQUEST_URL='([^']+)'/, /REQUEST_TOKEN='([^']+)'/)
    this.#emulator = emulator
    this.#issuer = issuer ?? ''
    this.ci.target = this.#issuer
    this.snapshot.call(this.#issuer, '«issuer»')
    this.snapshot.secret(token ?? '', 'request token')
    this.#request = {
      ACTIONS_ID_TOKEN_REQUEST_URL: (url ?? '').replace(this.#issuer, this.ci.url), ACTIONS_ID_TOKEN_REQUEST_TOKEN: token ?? '',
      GITHUB_REPOSITORY: repository, GITHUB_EVENT_NAME: event,
    }
  }

  /** Calls the API as its administrator; these calls are not part of the snapshot. */
  async admin(method: string, path: string, body?: unknown): Promise<Record<string, unknown>> {
    const headers: Record<string, string> = { authorization: `Bearer ${this.#admin}` }
    if (body !== undefined) {
      headers['content-type'] = 'application/json'
    }
    const answer = await fetch(this.idp.target + this.#prefix + path, { method, headers, body: body === undefined ? null : JSON.stringify(body) })
    const text = await answer.text()
    assert.ok(answer.ok, `${method} ${path}: ${String(answer.status)} ${text}`)
    return text === '' ? {} : JSON.parse(text) as Record<string, unknown>
  }

  /** Creates a trust policy for the repository. */
  async trust(policy: Record<string, unknown>): Promise<string> {
    const { id } = await this.admin('POST', '/api/v1/oidc/trust-policies', { provider: 'github', repository: REPOSITORY, ...policy })
    return id as string
  }

  /** Registers an agent as the administrator, and returns its id. */
  async agent(spec: Record<string, unknown> = {}): Promise<string> {
    const { agentId } = await this.admin('POST', '/api/v1/agents', { name: NAME, ...spec })
    return agentId as string
  }

  registerAgent(inputs: Record<string, string> = {}): Promise<Step> {
    return this.#step('register-agent', 'main', { 'agent-name': NAME, ...inputs }, {})
  }

  issueToken(inputs: Record<string, string>): Promise<Step> {
    return this.#step('issue-token', 'main', inputs, {})
  }

  /** The post step of an earlier step, with what that one left. */
  afterIssueToken({ state }: Step, inputs: Record<string, string> = {}): Promise<Step> {
    return this.#step('issue-token', 'post', inputs, Object.fromEntries(Object.entries(state).map(([name, value]) => [`STATE_${name}`, value])))
  }

  async #step(action: Action, entry: 'main' | 'post', inputs: Record<string, string>, state: Record<string, string>): Promise<Step> {
    const before = this.sent.length
    const step = await runStep(action, entry, { 'api-url': this.apiUrl, ...inputs }, { ...this.#request, ...state, ...this.env })
    this.snapshot.add(entry === 'main' ? action : `${action}, after the job`, step, this.sent.slice(before))
    return step
  }
}
