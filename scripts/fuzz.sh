#!/usr/bin/env bash
# Runs every fuzz target of the module for the time given (default 20s each), and those of
# what no stranger sends for the second one (default 5s).
#
# An input that fails is written to testdata/fuzz beside its target, from where go test
# tries it for ever: commit it with what mends it.
set -euo pipefail
duration=${1:-20s}
trusted=${2:-5s}
grep -rlE '^func Fuzz[A-Za-z0-9_]+\(' --include='*_test.go' . | sort -u | while read -r file; do
  dir=$(dirname "$file")
  grep -oE '^func Fuzz[A-Za-z0-9_]+' "$file" | sed 's/^func //' | while read -r target; do
    case $target in
      FuzzFile | FuzzGlob | FuzzError) time=$trusted ;; # the operator, an administrator, the server
      *) time=$duration ;;
    esac
    echo "$target ($dir, $time)"
    go test "$dir" -run '^$' -fuzz "^${target}\$" -fuzztime "$time"
  done
done
