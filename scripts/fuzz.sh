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

# fuzz DIR TARGET TIME. On a busy machine go test can fail with "context deadline exceeded",
# and nothing else, when the time is over and a worker has not stopped yet: that is no input
# that fails, and the target is tried once more.
fuzz() {
  local said
  said=$(mktemp)
  if go test "$1" -run '^$' -fuzz "^$2\$" -fuzztime "$3" 2>&1 | tee "$said"; then
    rm "$said"
    return
  fi
  if grep -q 'Failing input written' "$said" || ! grep -qx ' *context deadline exceeded' "$said"; then
    rm "$said"
    return 1
  fi
  rm "$said"
  echo "$2 was not stopped in time; once more"
  go test "$1" -run '^$' -fuzz "^$2\$" -fuzztime "$3"
}

grep -rlE '^func Fuzz[A-Za-z0-9_]+\(' --include='*_test.go' . | sort -u | while read -r file; do
  dir=$(dirname "$file")
  grep -oE '^func Fuzz[A-Za-z0-9_]+' "$file" | sed 's/^func //' | while read -r target; do
    case $target in
      FuzzParse | FuzzClaims | FuzzForm | FuzzValidate | FuzzMatch | FuzzCondition | FuzzPages) time=$duration ;;
      *) time=$others ;;
    esac
    echo "$target ($dir, $time)"
    fuzz "$dir" "$target" "$time"
  done
done
