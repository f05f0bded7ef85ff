#!/bin/sh
# Builds the fuzz preset and runs every target in turn, the time split evenly.
# Usage: scripts/fuzz.sh SECONDS_TOTAL [BUILD_FOLDER]
# New inputs stay in the build folder; tests/fuzz/corpus is only read. Exit status 1: a target
# crashed, leaked, hung or took too much memory; its input is named and kept.
set -eu

total=${1:?usage: scripts/fuzz.sh SECONDS_TOTAL [BUILD_FOLDER]}
root=$(cd "$(dirname "$0")/.." && pwd)
build=${2:-$root/build/fuzz}

cd "$root"
# Debian's clang-14 package brings no plain "clang".
clang=$(command -v clang || command -v clang-14 || command -v clang-18 || command -v clang-19 || true)
[ -n "$clang" ] || { echo "fuzz: clang is missing; apt-get install clang" >&2; exit 2; }
clangxx=$(echo "$clang" | sed 's|/clang\([^/]*\)$|/clang++\1|')
cmake --preset fuzz -B "$build" -DCMAKE_C_COMPILER="$clang" -DCMAKE_CXX_COMPILER="$clangxx" >/dev/null
cmake --build "$build" --target fuzz_targets -- ${FUZZ_BUILD_FLAGS:-}

count=0
for target in "$build"/fuzz/*_fuzz; do count=$((count + 1)); done
each=$((total / count))
[ "$each" -ge 1 ] || each=1

failed=""
for target in "$build"/fuzz/*_fuzz; do
  name=$(basename "$target" _fuzz)
  found="$build/fuzz/found/$name"
  mkdir -p "$found"
  seeds=""
  [ -d "tests/fuzz/corpus/$name" ] && seeds="tests/fuzz/corpus/$name"
  echo "fuzz: $name for $each s"
  # shellcheck disable=SC2086
  if ! "$target" -max_total_time="$each" -rss_limit_mb=1024 -timeout=10 -max_len=16384 -print_final_stats=1 \
      -artifact_prefix="$build/fuzz/crash-$name-" "$found" $seeds >"$build/fuzz/$name.log" 2>&1; then
    failed="$failed $name"
    tail -n 60 "$build/fuzz/$name.log"
    echo "fuzz: $name failed; its input is kept as $build/fuzz/crash-$name-*" >&2
  fi
  grep -E '^stat::number_of_executed_units' "$build/fuzz/$name.log" || true
done
[ -z "$failed" ] || { echo "fuzz: failed:$failed" >&2; exit 1; }
echo "fuzz: $count targets, nothing found"
