#!/usr/bin/env bash
# Puts the bundles of the actions, which are not on main, on a tag of this
# repository, so that a release can be looked into and compared with its sources.
#
# usage: scripts/tag-actions.sh vX.Y.Z REMOTE, after make actions
set -euo pipefail
cd "$(dirname "$0")/.."
version=$1 remote=$2

if ! [[ $version =~ ^v(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)$ ]]; then
  echo "$version is no version; write it like v1.2.3" >&2
  exit 2
fi
# A commit beside the branch: neither the work tree nor the index changes.
index=$(mktemp -u)
trap 'rm -f "$index"' EXIT
export GIT_INDEX_FILE=$index
git read-tree HEAD
git add --force actions/register-agent/dist actions/issue-token/dist
tree=$(git write-tree)
unset GIT_INDEX_FILE
export GIT_AUTHOR_NAME=AgentIdP GIT_AUTHOR_EMAIL=noreply@sentryagent.ai GIT_COMMITTER_NAME=AgentIdP GIT_COMMITTER_EMAIL=noreply@sentryagent.ai
commit=$(git commit-tree "$tree" -p HEAD -m "Actions $version, with their bundles")
git push --quiet "$remote" "$commit:refs/tags/actions-$version"
echo "actions-$version is $commit"
