import { type ChildProcess, spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'

/** The repository: tests run as actions/.build/<folder>/<name>.mjs. */
export const ROOT = join(import.meta.dirname, '..', '..', '..')

/** The program, as make build leaves it. */
export const AGENTIDP = join(ROOT, 'bin', 'agentidp')

/** A child process that goes on while a test runs. */
export class Program {
  readonly #child: ChildProcess

  private constructor(child: ChildProcess) {
    this.#child = child
  }

  /** Starts the program and waits until its output says, in the first group of each pattern, what a test needs to know. */
  static async start(args: string[], env: Record<string, string>, ...patterns: RegExp[]): Promise<[Program, ...string[]]> {
    const child = spawn(AGENTIDP, args, { env: { PATH: process.env['PATH'] ?? '', ...env }, stdio: ['ignore', 'pipe', 'pipe'] })
    const said: string[] = []
    const found = new Promise<string[]>((resolve, reject) => {
      const hear = (line: string): void => {
        said.push(line)
        const matches = patterns.map(pattern => said.map(text => pattern.exec(text)?.[1]).find(text => text !== undefined))
        if (matches.every(match => match !== undefined)) {
          resolve(matches)
        }
      }
      createInterface(child.stdout).on('line', hear)
      createInterface(child.stderr).on('line', hear)
      child.on('error', reject)
      child.on('exit', code => { reject(new Error(`agentidp ${args.join(' ')} ended with ${String(code)}: ${said.join('\n')}`)) })
      child.on('close', () => { keep(said) })
    })
    return [new Program(child), ...await found]
  }

  /** Ends the program and waits until it has ended. */
  async stop(): Promise<void> {
    if (this.#child.exitCode === null && this.#child.signalCode === null) {
      const ended = new Promise(done => this.#child.once('close', done))
      this.#child.kill('SIGTERM')
      await ended
    }
  }
}

/** Leaves what a program printed where all that the tests print is searched for secrets (test/secretscan), if it is. */
function keep(said: string[]): void {
  const folder = process.env['SECRETSCAN_DIR']
  if (folder !== undefined) {
    writeFileSync(join(folder, `program-${randomUUID()}.log`), said.join('\n'))
  }
}

/** Runs a command to its end. */
export function execute(command: string, args: string[], options: { env: Record<string, string>; cwd?: string }): Promise<{ code: number | null; stdout: string; stderr: string }> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { ...options, stdio: ['ignore', 'pipe', 'pipe'] })
    let stdout = '', stderr = ''
    child.stdout.setEncoding('utf8').on('data', (text: string) => { stdout += text })
    child.stderr.setEncoding('utf8').on('data', (text: string) => { stderr += text })
    child.on('error', reject)
    child.on('close', code => { resolve({ code, stdout, stderr }) })
  })
}
