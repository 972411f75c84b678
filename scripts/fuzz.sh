#!/usr/bin/env bash
# Runs every fuzz target of the module for the time given (default 10s each).
set -euo pipefail
duration=${1:-10s}
grep -rlE '^func Fuzz[A-Za-z0-9_]+\(' --include='*_test.go' . | sort -u | while read -r file; do
  grep -oE '^func Fuzz[A-Za-z0-9_]+' "$file" | sed 's/^func //' | while read -r target; do
    echo "$target ($(dirname "$file"))"
    go test "$(dirname "$file")" -run '^$' -fuzz "^${target}\$" -fuzztime "$duration"
  done
done
