#!/usr/bin/env bash
# Builds the release and runs bench/run.py: layerd beside nginx and docker-registry in the same run, a
# table of ratios against the budgets. Arguments go to bench/run.py (serve, pull, footprint, --pairs N).
# Needs root for network namespaces and traffic shaping.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/packages.sh
layerd_build_packages
layerd_test_packages
layerd_install strace
cmake --preset release >/dev/null
cmake --build build/release
exec python3 bench/run.py "$@"
