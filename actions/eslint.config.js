import { defineConfig } from 'eslint/config'
import tseslint from 'typescript-eslint'

// The strict rules that know types: a promise that nobody waits for, or a value
// of type any from the network, is an error here.
export default defineConfig(
  { ignores: ['**/dist/', 'node_modules/', '.build/', 'shared/api.gen.ts'] },
  tseslint.configs.strictTypeChecked,
  {
    languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname } },
    linterOptions: { reportUnusedDisableDirectives: 'error' },
    rules: {
      '@typescript-eslint/switch-exhaustiveness-check': 'error',
      '@typescript-eslint/restrict-template-expressions': ['error', { allowNumber: true }],
      eqeqeq: 'error',
      'no-console': 'error',
    },
  },
  {
    // test() of node:test returns a promise that the runner itself waits for.
    files: ['**/*.test.ts'],
    rules: { '@typescript-eslint/no-floating-promises': ['error', { allowForKnownSafeCalls: [{ from: 'package', package: 'node:test', name: ['test', 'describe'] }] }] },
  },
)
