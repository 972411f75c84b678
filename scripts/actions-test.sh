#!/usr/bin/env bash
# Runs the tests of the GitHub Actions, on each version of Node that they are made
# for: the runner's (24) and the oldest (20). Where these are not to be had (they
# come for Linux on x86-64), the machine's own node has to do; CI insists.
#
# usage: scripts/actions-test.sh [NAME…], as in scripts/actions-test.sh register
set -euo pipefail
cd "$(dirname "$0")/../actions"

engines=(engines/node_modules/*/bin/node)
if [ ! -x "${engines[0]}" ]; then
  if [ -n "${AGENTIDP_REQUIRE_NODE:-}" ]; then
    echo "Node 20 and 24 are not in actions/engines/node_modules: make installs them, on Linux on x86-64; elsewhere call $0 itself" >&2
    exit 1
  fi
  engines=(node)
fi

node build.js tests
tests=(.build/*/*.test.mjs)
if [ $# -gt 0 ]; then
  tests=("${@/#/.build/test/}")
  tests=("${tests[@]/%/.test.mjs}")
fi
# A test that is given up may leave a program running; nobody waits for that.
for engine in "${engines[@]}"; do
  echo "== Node $("$engine" --version)"
  "$engine" --test --test-force-exit --test-concurrency=3 --test-reporter=spec "${tests[@]}"
done
