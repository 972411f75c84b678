import assert from 'node:assert/strict'
import { readFileSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import type { Step } from './job.ts'
import { ROOT } from './program.ts'
import type { Exchanged } from './recorder.ts'

const JWT = /(?<![A-Za-z0-9_-])[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,}/g

/**
 * What a scenario looks like from outside, as text for people: what was printed,
 * put out and sent, with a name in the place of every token, id and time.
 */
export class Snapshot {
  readonly #parts: string[] = []
  readonly #names = new Map<string, string>()
  readonly #secrets = new Map<string, string>()

  /** Says what a text is called, also where it is percent-encoded, and where such a text is in a workflow command. */
  call(text: string, name: string): void {
    const encoded = encodeURIComponent(text)
    this.#names.set(encoded.replaceAll('%', '%25'), `${name}, percent-encoded`)
    this.#names.set(encoded, `${name}, percent-encoded`)
    this.#names.set(text, name)
  }

  /** Says what a secret is called; it stands nowhere but in requests, outputs, state and the command that masks it. */
  secret(text: string, name: string): void {
    this.#secrets.set(text, name)
    this.call(text, `«${name}»`)
  }

  /** Adds a step with the requests that it sent. */
  add(title: string, step: Step, sent: readonly Exchanged[]): void {
    for (const { answer, body, to } of sent) {
      for (const token of [...answer.matchAll(JWT), ...body.matchAll(JWT)].map(found => found[0])) {
        this.#token(token, to)
      }
    }
    this.#nothingLeaks(step)
    this.#parts.push(
      `== ${title}: exit ${String(step.code)} ==`, '',
      ...section('log', step.stdout), ...section('errors', step.stderr),
      ...section('outputs', assignments(step.outputs)), ...section('state', assignments(step.state)),
      ...section('summary', step.summary),
      ...section('requests', sent.map(describe).join('\n')),
    )
  }

  /** Compares with the file of this name, or with UPDATE=1 writes it. */
  check(): void {
    const file = join(ROOT, 'actions', 'test', 'snapshots', `${basename(import.meta.filename, '.test.mjs')}.txt`)
    const text = this.#normal(this.#parts.join('\n')) + '\n'
    assert.doesNotMatch(text, /eyJ[A-Za-z0-9_-]{10}/, 'a token is in the snapshot')
    if (process.env['UPDATE'] === '1') {
      writeFileSync(file, text)
    }
    assert.equal(text, readFileSync(file, 'utf8'), `${file} is another; if the change is meant, run make actions-update`)
  }

  #token(token: string, from: string): void {
    if (!this.#secrets.has(token)) {
      const kind = from === 'CI' ? 'ID token' : 'access token'
      this.secret(token, `${kind} ${String([...this.#secrets.values()].filter(other => other.startsWith(kind)).length + 1)}`)
    }
  }

  /**
   * a token stands in the log in the command that masks it alone, whatever
   * else the step does; nowhere in errors and summary; and nowhere in another form.
   */
  #nothingLeaks({ stdout, stderr, summary }: Step): void {
    const others = stdout.split('\n').filter(line => !line.startsWith('::add-mask::')).join('\n') + stderr + summary
    for (const secret of this.#secrets.keys()) {
      const forms = [secret, Buffer.from(secret).toString('base64').slice(0, 40), ...secret.split('.')]
      assert.ok(forms.every(form => !others.includes(form)), 'a token was printed')
    }
    assert.doesNotMatch(others, /eyJ[A-Za-z0-9_-]{10}/, 'something like a token was printed')
  }

  #normal(text: string): string {
    for (const [value, name] of [...this.#names].sort(([a], [b]) => b.length - a.length)) {
      text = text.replaceAll(value, name)
    }
    const ids: string[] = []
    return text
      .replace(/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/g, id => {
        const known = ids.indexOf(id)
        return `«id ${String(known < 0 ? ids.push(id) : known + 1)}»`
      })
      .replace(/\b20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z/g, '«time»')
      .replace(/trying again in [\d.]+ s/g, 'trying again in «wait» s')
  }
}

function section(name: string, text: string): string[] {
  return text === '' ? [] : [`-- ${name} --`, text.trimEnd(), '']
}

function assignments(values: Record<string, string>): string {
  return Object.entries(values).map(([name, value]) => `${name}=${value}`).join('\n')
}

function describe({ to, method, path, headers, body, status, lost }: Exchanged): string {
  const { authorization } = headers
  return [
    `${method} ${to} ${path}`,
    ...(authorization === undefined ? [] : [`  authorization: ${authorization}`]),
    ...(headers['content-type'] === undefined ? [] : [`  content-type: ${headers['content-type']}`]),
    ...(body === '' ? [] : [`  ${body}`]),
    `  answered ${String(status)}${lost ? ', and the answer was lost' : ''}`,
  ].join('\n')
}
