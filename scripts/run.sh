#!/usr/bin/env bash
# Installs what is missing, builds layerd into build/release and runs it in the foreground.
#   scripts/run.sh                    layerd serve
#   scripts/run.sh --config FILE      layerd serve --config FILE
#   scripts/run.sh status --json      any other layerd command
#   scripts/run.sh demo               the main job shown with a registry and a containerd of its own
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=scripts/packages.sh
. scripts/packages.sh

layerd_build_packages
if [[ ${1:-} == demo ]]; then layerd_demo_packages; fi
cmake --preset release >build-release.log 2>&1 || { cat build-release.log >&2; exit 1; }
rm -f build-release.log
cmake --build --preset release

if [[ ${1:-} == demo ]]; then
  [[ $(id -u) == 0 ]] || echo "containerd needs root: the demo goes on under sudo"
  layerd_as_root scripts/demo "$PWD/build/release/layerd"
  exit
fi

command=serve
if [[ $# -gt 0 && $1 != -* ]]; then
  command=$1
  shift
fi

# Without the right to write where the service keeps its state, everything goes below the home folder.
config=()
if [[ " $* " != *" --config"* && ! -e /etc/layerd/config.yaml ]] &&
  ! { mkdir -p /var/lib/layerd /run/layerd 2>/dev/null && [[ -w /var/lib/layerd && -w /run/layerd ]]; }; then
  state=${XDG_STATE_HOME:-$HOME/.local/state}/layerd
  mkdir -p "$state"
  chmod 700 "$state"
  if [[ ! -e $state/config.yaml ]]; then
    printf 'admin: {socket: "%s/admin.sock"}\ncache: {path: "%s/cache"}\n' "$state" "$state" >"$state/config.yaml"
  fi
  echo "State and configuration in $state"
  config=(--config "$state/config.yaml")
fi
exec build/release/layerd "$command" "${config[@]}" "$@"
