import { execFile, spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

/** The program, as make build leaves it. */
const AGENTIDP = fileURLToPath(new URL('../../../bin/agentidp', import.meta.url))

/**
 * Starts the program and waits until its output says, in the first group of each
 * pattern, what a test needs to know. Returns how to end it, and what was found.
 */
export async function start(args, env, ...patterns) {
  const child = spawn(AGENTIDP, args, { env: { PATH: process.env.PATH, ...env }, stdio: ['ignore', 'pipe', 'pipe'] })
  const said = []
  const found = await new Promise((resolve, reject) => {
    const hear = line => {
      said.push(line)
      const matches = patterns.map(pattern => said.map(text => pattern.exec(text)?.[1]).find(text => text !== undefined))
      if (matches.every(match => match !== undefined)) {
        resolve(matches)
      }
    }
    createInterface(child.stdout).on('line', hear)
    createInterface(child.stderr).on('line', hear)
    child.on('error', reject)
    child.on('exit', code => { reject(new Error(`agentidp ${args.join(' ')} ended with ${code}: ${said.join('\n')}`)) })
    child.on('close', () => { keep('.log', said.join('\n')) })
  })
  const stop = async () => {
    const ended = once(child, 'close')
    child.kill('SIGTERM')
    await ended
  }
  return [stop, ...found]
}

/** Runs a command to its end and returns what it printed. */
export async function run(args) {
  const { stdout } = await promisify(execFile)(AGENTIDP, args, { env: {} })
  return stdout.trim()
}

/** Makes a value one that must stand nowhere in what is printed. */
export function secret(value) {
  keep('.secret', value.trim())
  return value
}

/** Leaves something for the scan of all that the tests print (test/secretscan), where that runs. */
function keep(suffix, content) {
  const folder = process.env.SECRETSCAN_DIR
  if (folder !== undefined) {
    writeFileSync(join(folder, randomUUID() + suffix), content)
  }
}
