#!/usr/bin/env bash
# Lays out every source file; with --check only says which files differ (exit 1).
# The layout is that of clang-format 14: other versions differ in details.
set -euo pipefail
cd "$(dirname "$0")/.."
mapfile -t files < <(find runtime cache proxy daemon systemd tests bench -name '*.h' -o -name '*.cc' | sort)
if [[ ${1:-} != --check ]]; then
  clang-format-14 -i "${files[@]}"
  exit 0
fi
clang-format-14 --dry-run --Werror "${files[@]}"
