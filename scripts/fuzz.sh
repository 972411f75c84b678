#!/usr/bin/env bash
# Runs the fuzz targets of what decides whether a token is good, what it grants and who sees
# what for the time given (default 20s each), and all others of the module for the second
# one (default 10s).
#
# An input that fails is written to testdata/fuzz beside its target, from where go test
# tries it for ever: commit it with what mends it.
set -euo pipefail
duration=${1:-20s}
others=${2:-10s}
grep -rlE '^func Fuzz[A-Za-z0-9_]+\(' --include='*_test.go' . | sort -u | while read -r file; do
  dir=$(dirname "$file")
  grep -oE '^func Fuzz[A-Za-z0-9_]+' "$file" | sed 's/^func //' | while read -r target; do
    case $target in
      FuzzParse | FuzzClaims | FuzzForm | FuzzValidate | FuzzMatch | FuzzCondition | FuzzPages) time=$duration ;;
      *) time=$others ;;
    esac
    echo "$target ($dir, $time)"
    go test "$dir" -run '^$' -fuzz "^${target}\$" -fuzztime "$time"
  done
done
