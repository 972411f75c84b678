import type { Claims } from './claims.ts'

/**
 * The trust policy for runs like the one with these claims, on this branch or tag:
 * for one agent, or without agentId for registering.
 */
export function policyFor({ repository = '', ref = '', ref_type }: Claims, provider: string, agentId?: string): Record<string, string> {
  const [, tag] = /^refs\/tags\/(.+)$/.exec(ref) ?? []
  const [, branch] = /^refs\/heads\/(.+)$/.exec(ref) ?? []
  return {
    provider,
    repository,
    ...(ref_type === 'tag' && tag !== undefined ? { tag } : {}),
    ...(ref_type === 'branch' && branch !== undefined ? { branch } : {}),
    ...(agentId === undefined ? {} : { agentId }),
  }
}
