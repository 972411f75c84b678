import assert from 'node:assert/strict'
import { test } from 'node:test'
import { policyNotConfigured } from './messages.ts'
import { policyFor } from './policy.ts'

const REPOSITORY = { repository: 'acme/deploy' }

test('a policy is for the branch or tag of the run', () => {
  const common = { provider: 'github', repository: 'acme/deploy' }
  for (const [ref, ref_type, more] of [
    ['refs/heads/main', 'branch', { branch: 'main' }],
    ['refs/heads/feature/x', 'branch', { branch: 'feature/x' }],
    ['refs/tags/v1.2.3', 'tag', { tag: 'v1.2.3' }],
    ['refs/pull/7/merge', 'branch', {}],
    ['refs/tags/v1', 'branch', {}],
  ] as const) {
    assert.deepEqual(policyFor({ ...REPOSITORY, ref, ref_type }, 'github'), { ...common, ...more }, ref)
    assert.deepEqual(policyFor({ ...REPOSITORY, ref, ref_type }, 'github', 'x'), { ...common, ...more, agentId: 'x' }, ref)
  }
})

test('whose policy is not configured is shown the one that this run needs', () => {
  for (const [ref, ref_type, want] of [
    ['refs/heads/next', 'branch', /it: \{"provider":"github","repository":"acme\/deploy","branch":"next"\}\. The README/],
    ['refs/tags/v1.2.3', 'tag', /it: \{"provider":"github","repository":"acme\/deploy","tag":"v1\.2\.3"\}\. The README/],
    ['refs/pull/7/merge', 'branch', /it: \{"provider":"github","repository":"acme\/deploy"\}\. It takes any branch, so run the job on one/],
    ['refs/heads/a"b##[error]', 'branch', /"branch":"a\\"b## \[error\]"\}/],
  ] as const) {
    assert.match(policyNotConfigured({ ...REPOSITORY, ref, ref_type }).remedy, want)
  }
})
