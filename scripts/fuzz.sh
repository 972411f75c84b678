#!/usr/bin/env bash
# Runs every fuzz target of the module for the time given (default 10s each), and those of
# what decides who gets a token for the second one (default: as long).
set -euo pipefail
duration=${1:-10s}
deciding=${2:-$duration}
grep -rlE '^func Fuzz[A-Za-z0-9_]+\(' --include='*_test.go' . | sort -u | while read -r file; do
  dir=$(dirname "$file")
  case $dir in
    ./internal/policy | ./internal/condition) time=$deciding ;;
    *) time=$duration ;;
  esac
  grep -oE '^func Fuzz[A-Za-z0-9_]+' "$file" | sed 's/^func //' | while read -r target; do
    echo "$target ($dir, $time)"
    go test "$dir" -run '^$' -fuzz "^${target}\$" -fuzztime "$time"
  done
done
