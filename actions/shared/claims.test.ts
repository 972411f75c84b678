import assert from 'node:assert/strict'
import { test } from 'node:test'
import { readClaims } from './claims.ts'

function token(payload: unknown): string {
  return `e30.${Buffer.from(JSON.stringify(payload)).toString('base64url')}.c2ln`
}

test('only claims of the list are read', () => {
  const claims = readClaims(token({ repository: 'acme/deploy', ref: 'refs/heads/main', jti: 'x', sub: 'y', iat: 1_795_176_000, toString: 'z' }))
  assert.deepEqual(claims, { repository: 'acme/deploy', ref: 'refs/heads/main', iat: '2026-11-20T12:00:00.000Z' })
})

test('claims of other types are left out', () => {
  assert.deepEqual(readClaims(token({ repository: 1e300, ref: ['x'], aud: null, iat: '1795176000' })), { iat: '1795176000' })
})

test('what is no JWT has no claims', () => {
  for (const text of ['', 'a.b', 'a.b.c', 'a.!!!.c', token('x'), token(null), 'a.b.c.d']) {
    assert.equal(readClaims(text), undefined, text)
  }
})
