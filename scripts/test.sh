#!/usr/bin/env bash
# Installs what is missing, builds everything and runs every test. The last line says how many test cases
# passed and failed; a test that cannot run counts as failed.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=scripts/packages.sh
. scripts/packages.sh

passed=0
failed=0
failures=()

# Adds up the test cases of the last ctest run in folder $1; a program that is no Catch2 program counts one.
# The report (JUnit) says which did not run at all, the log how many test cases each program had.
count_cases() {
  local name good bad
  while read -r name good bad; do
    passed=$((passed + good))
    failed=$((failed + bad))
    if [[ $bad != 0 ]]; then failures+=("$(basename "$1"): $name"); fi
  done < <(awk '
    /<testcase / {
      split($0, part, "\""); name = part[2]
      status[name] = /status="run"/ ? "run" : /status="notrun"/ ? "notrun" : "fail"
    }
    FILENAME ~ /xml$/ { next }
    /^[0-9]+\/[0-9]+ Test: / { name = $3 }
    /^All tests passed \(/ { for (i = 1; i < NF; i++) if ($(i + 1) == "test") good[name] += $i }
    /^test cases: / {
      for (i = 1; i < NF; i++) { if ($(i + 1) == "passed") good[name] += $i; if ($(i + 1) == "failed") bad[name] += $i }
    }
    END {
      for (name in status) {
        if (status[name] == "notrun") good[name] = 0
        if (status[name] != "run" && !bad[name]) bad[name] = 1
        if (status[name] == "run" && !good[name]) good[name] = 1
        print name, good[name] + 0, bad[name] + 0
      }
    }
  ' "$1/report.xml" "$1/Testing/Temporary/LastTest.log")
}

# step NAME COMMAND...: one more thing that passes or fails.
step() {
  local name=$1
  shift
  echo "== $name"
  if "$@"; then passed=$((passed + 1)); else failed=$((failed + 1)) && failures+=("$name"); fi
}

# run_ctest FOLDER ARGUMENTS...
run_ctest() {
  local folder=$1
  shift
  rm -f "$folder/report.xml"
  "${as_root[@]}" ctest --test-dir "$folder" --output-on-failure --no-tests=error \
    --output-junit "$PWD/$folder/report.xml" "$@" || true
  if [[ -e $folder/report.xml ]]; then
    count_cases "$folder"
  else
    failed=$((failed + 1))
    failures+=("ctest in $folder")
  fi
}

layerd_build_packages
layerd_test_packages
jobs=${LAYERD_JOBS:-$(nproc)}
as_root=()
# containerd, tmpfs and network namespaces need root.
if [[ $(id -u) != 0 ]]; then as_root=(sudo -E env "PATH=$PATH"); fi

build_dev() { cmake --preset dev -DLAYERD_WERROR=ON >/dev/null && cmake --build --preset dev -j "$jobs"; }
build_tsan() {
  cmake --preset tsan >/dev/null && cmake --build --preset tsan -j "$jobs" --target unit_runtime unit_cache random_exchange
}

# A head start for the later steps, which build again what is missing and say why.
build_later() {
  renice -n 19 "$BASHPID"
  build_tsan && scripts/fuzz.sh 0
}

step "build with AddressSanitizer and UndefinedBehaviorSanitizer" build_dev
# The tests of whole daemons wait more than they compute: more of them than processors run at once, and what they
# leave over goes to the compilers of the later steps.
build_later >/dev/null 2>&1 &
run_ctest build/dev -j 4 -LE site
wait
step "build with ThreadSanitizer" build_tsan
run_ctest build/tsan -j 2 -R '^(unit_runtime|unit_cache|random_exchange)$'
# Nodes that wait for a processor seem dead to each other: these have the machine to themselves.
run_ctest build/dev -j 1 -L site
# Half as long where all before took long: the whole stays under 25 minutes.
if [[ -x scripts/fuzz.sh ]]; then step "fuzzing" scripts/fuzz.sh $((SECONDS < 900 ? 240 : 120)); fi

for failure in "${failures[@]}"; do echo "failed: $failure"; done
echo "$passed passed, $failed failed"
[[ $failed == 0 ]]
