import assert from 'node:assert/strict'
import * as http from 'node:http'
import type { AddressInfo } from 'node:net'
import { test } from 'node:test'
import { Failure } from './failure.ts'
import { type Answer, post } from './http.ts'

/** Posts to a server that does as told, and returns the answer or the failure. */
async function against(serve: http.RequestListener, timeLimit = 60_000): Promise<Answer | Failure> {
  const server = http.createServer(serve)
  await new Promise<void>(done => server.listen(0, '127.0.0.1', done))
  const url = `http://127.0.0.1:${String((server.address() as AddressInfo).port)}/x`
  try {
    return await post({ url, mediaType: 'application/json', body: '{}' }, timeLimit)
  } catch (error) {
    assert.ok(error instanceof Failure)
    return error
  } finally {
    server.closeAllConnections()
    server.close()
  }
}

test('an answer comes with what is said about trying again', async () => {
  for (const [header, want] of [['7', 7], ['0', 0], ['', undefined], ['-1', undefined], ['soon', undefined], ['99999999999', undefined],
    ['Sat, 21 Nov 2020 12:00:00 GMT', 0]] as const) {
    const answer = await against((_, response) => { response.writeHead(503, { 'retry-after': header }).end('no JSON') })
    assert.ok(!(answer instanceof Failure))
    assert.deepEqual([answer.status, answer.retryAfter, answer.body], [503, want, undefined], header)
  }
})

test('a server that hangs, or drips, is left after the time limit, and may be tried again', async () => {
  const hangs: http.RequestListener = () => undefined
  const drips: http.RequestListener = (request, response) => {
    response.writeHead(200)
    const timer = setInterval(() => response.write(' '), 20)
    request.on('close', () => { clearInterval(timer) })
  }
  for (const serve of [hangs, drips]) {
    const failure = await against(serve, 200)
    assert.ok(failure instanceof Failure)
    assert.match(failure.said.cause, /\(timeout\)/)
    assert.deepEqual(failure.retry, {})
  }
})

test('a body without end is not read', async () => {
  const failure = await against((request, response) => {
    const more = (): void => { while (response.write('x'.repeat(16_384))) { /* until it is full */ } }
    response.on('drain', more)
    request.on('close', () => { response.off('drain', more) })
    more()
  })
  assert.ok(failure instanceof Failure)
  assert.match(failure.said.cause, /more than 64 KiB/)
  assert.equal(failure.retry, undefined)
})
