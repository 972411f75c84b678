#!/usr/bin/env bash
# Publishes a built action to a repository of its own: action.yml, README, license
# and bundles are one commit on its main, vX.Y.Z is a new tag there and vX moves,
# never back. All of it arrives or nothing does. DEPLOY_KEY, where it is set, is the
# SSH key, for GitHub alone, which is known by its published host key.
#
# usage: scripts/publish-action.sh NAME vX.Y.Z REMOTE, after make actions
set -euo pipefail
cd "$(dirname "$0")/.."
name=$1 version=$2 remote=$3

if ! [[ $version =~ ^v(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)$ ]]; then
  echo "$version is no version; write it like v1.2.3" >&2
  exit 2
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
if [ -n "${DEPLOY_KEY:-}" ]; then
  (umask 077 && printf '%s\n' "$DEPLOY_KEY" > "$work/key")
  echo 'github.com ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl' > "$work/known_hosts"
  export GIT_SSH_COMMAND="ssh -i $work/key -o IdentitiesOnly=yes -o UserKnownHostsFile=$work/known_hosts -o StrictHostKeyChecking=yes"
fi
published=$(git ls-remote --refs --tags "$remote" | sed 's|.*refs/tags/||')
if grep -qxF "$version" <<<"$published"; then
  echo "$version is published; a release does not change" >&2
  exit 1
fi
newest=$(printf '%s\n' "$published" "$version" | grep "^${version%%.*}[.]" | sort -V | tail -n 1)
if [ "$newest" != "$version" ]; then
  echo "$newest is published; ${version%%.*} does not move back" >&2
  exit 1
fi

tree=$work/tree
git init --quiet --initial-branch=main "$tree"
if git ls-remote --exit-code "$remote" refs/heads/main >/dev/null; then
  git -C "$tree" fetch --quiet "$remote" main
  git -C "$tree" reset --quiet --soft FETCH_HEAD
fi
cp -R "actions/$name/action.yml" "actions/$name/README.md" "actions/$name/dist" LICENSE "$tree"
source=$(git rev-parse HEAD)
cd "$tree"
export GIT_AUTHOR_NAME=AgentIdP GIT_AUTHOR_EMAIL=noreply@sentryagent.ai GIT_COMMITTER_NAME=AgentIdP GIT_COMMITTER_EMAIL=noreply@sentryagent.ai
git add --all
git commit --quiet --allow-empty --message "$version

Built of sentryagent/agentidp@$source."
git push --quiet --atomic "$remote" HEAD:refs/heads/main "HEAD:refs/tags/$version" "+HEAD:refs/tags/${version%%.*}"
echo "$name $version is $(git rev-parse HEAD)"
