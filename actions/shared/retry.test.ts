import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Failure, type Retry } from './failure.ts'
import { rateLimited } from './messages.ts'
import { type Timing, withRetries } from './retry.ts'

/** Fails as often as told, in the ways told, each attempt taking as long as told, and records what was waited. */
async function waits(failures: (Retry | undefined)[], random: number, taken: number): Promise<{ waited: number[]; attempts: number; failed: boolean }> {
  const waited: number[] = []
  let attempts = 0
  let now = 0
  const timing: Timing = { random: () => random, now: () => now, sleep: seconds => { now += seconds; waited.push(seconds); return Promise.resolve() } }
  const done = withRetries(() => {
    const failure = attempts++
    now += taken
    return failure < failures.length ? Promise.reject(new Failure(rateLimited(), {}, failures[failure])) : Promise.resolve()
  }, timing)
  const failed = await done.then(() => false, () => true)
  return { waited, attempts, failed }
}

test('A-252: attempts, and the waits between them', async () => {
  for (const [what, failures, random, want, taken = 0.1] of [
    ['a success is not repeated', [], 0.5, { waited: [], attempts: 1, failed: false }],
    ['a refusal is not repeated', [undefined], 0.5, { waited: [], attempts: 1, failed: true }],
    ['one failure that passes', [{}], 0.5, { waited: [1], attempts: 2, failed: false }],
    ['waits grow', [{}, {}, {}], 0.5, { waited: [1, 3, 9], attempts: 4, failed: false }],
    ['after three retries it is enough', [{}, {}, {}, {}], 0.5, { waited: [1, 3, 9], attempts: 4, failed: true }],
    ['a refusal ends the attempts', [{}, undefined], 0.5, { waited: [1], attempts: 2, failed: true }],
    ['chance makes a wait shorter', [{}, {}, {}], 0, { waited: [0.5, 1.5, 4.5], attempts: 4, failed: false }],
    ['chance makes a wait longer', [{}, {}, {}], 1, { waited: [1.5, 4.5, 13.5], attempts: 4, failed: false }],
    ['Retry-After is waited for in full', [{ after: 20 }], 0, { waited: [20], attempts: 2, failed: false }],
    ['and a little more, by chance', [{ after: 20 }, { after: 20 }], 1, { waited: [21, 23], attempts: 3, failed: false }],
    ['slow attempts end the attempts', [{}, {}, {}], 0.5, { waited: [1], attempts: 2, failed: true }, 100],
    ['so do long waits', [{ after: 60 }, { after: 60 }, { after: 60 }], 0.5, { waited: [60.5, 61.5], attempts: 3, failed: true }],
    ['Retry-After of an hour is not waited for', [{ after: 3600 }], 0, { waited: [], attempts: 1, failed: true }],
  ] as const) {
    assert.deepEqual(await waits([...failures], random, taken), want, what)
  }
})

test('an error that nobody foresaw is not repeated', async () => {
  let attempts = 0
  await assert.rejects(withRetries(() => { attempts++; return Promise.reject(new TypeError('x')) }), TypeError)
  assert.equal(attempts, 1)
})
