#!/bin/sh
# Builds the fuzz preset and runs every target in turn, the time split evenly.
# Usage: scripts/fuzz.sh SECONDS_TOTAL [BUILD_FOLDER]; with 0 seconds it only builds.
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

[ "$total" != 0 ] || exit 0

count=0
for target in "$build"/fuzz/*_fuzz; do count=$((count + 1)); done
each=$((total / count))
[ "$each" -ge 1 ] || each=1

# One target: quiet unless it fails; then the end of its log, and a mark beside it.
run_target() {
  name=$(basename "$1" _fuzz)
  found="$build/fuzz/found/$name"
  mkdir -p "$found"
  rm -f "$build/fuzz/$name.failed"
  seeds=""
  [ -d "tests/fuzz/corpus/$name" ] && seeds="tests/fuzz/corpus/$name"
  # shellcheck disable=SC2086
  if ! "$1" -max_total_time="$each" -rss_limit_mb=1024 -timeout=10 -max_len=16384 -print_final_stats=1 \
      -artifact_prefix="$build/fuzz/crash-$name-" "$found" $seeds >"$build/fuzz/$name.log" 2>&1; then
    : >"$build/fuzz/$name.failed"
    tail -n 60 "$build/fuzz/$name.log"
    echo "fuzz: $name failed; its input is kept as $build/fuzz/crash-$name-*" >&2
    return 0
  fi
  units=$(sed -n 's/^stat::number_of_executed_units: *//p' "$build/fuzz/$name.log")
  echo "fuzz: $name, $each s, ${units:-?} inputs"
}

# As many at a time as there are processors.
jobs=$(nproc)
running=0
for target in "$build"/fuzz/*_fuzz; do
  run_target "$target" &
  running=$((running + 1))
  if [ "$running" -ge "$jobs" ]; then wait; running=0; fi
done
wait
failed=$(find "$build/fuzz" -maxdepth 1 -name '*.failed' -exec basename {} .failed \;)
[ -z "$failed" ] || { echo "fuzz: failed: $failed" >&2; exit 1; }
echo "fuzz: $count targets, nothing found"
