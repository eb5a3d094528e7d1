#!/usr/bin/env bash
# Run tiers of tests: tests/tiers.sh TARGET... [+ TARGET...]...
# The targets of a lane run one after the other, also after one that failed; `+` begins another lane, which runs beside
# the others where there are two cores. Beside another lane, the output of a target is printed as a whole when it ends.
# Ends with what each tier took, then with one line: the tests passed, failed and skipped in all of them.
# With SEEDBED_TEST_MINUTES=N no tier begins later than N minutes after the first; it is reported as not run. A target that
# runs several tiers is told that time as SEEDBED_TEST_LATEST, in seconds since 1970.
set -uo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
lanes=("")
for target in "$@"; do
  if [ "$target" != + ]; then lanes[-1]+=" $target"; elif [ "$(nproc)" -gt 1 ]; then lanes+=(""); fi
done

run_tier() { # run_tier TARGET: leave its counts, and one line about its end
  local tier=$1 begun=$SECONDS result=
  export SEEDBED_TEST_COUNTS=$folder/$tier.counts # each pytest adds a line: tests/conftest.py
  export SEEDBED_TEST_TIMES=$folder/$tier.times # and what each of several tiers took
  : > "$SEEDBED_TEST_COUNTS"
  if [ -n "${SEEDBED_TEST_MINUTES:-}" ] && [ "$SECONDS" -gt $((SEEDBED_TEST_MINUTES * 60)) ]; then
    echo "not run: $tier: the tiers before it took $((SECONDS / 60)) of the $SEEDBED_TEST_MINUTES minutes in which one may begin" >> "$folder/report"
    return
  fi
  if ! run_target "$tier"; then
    result="failed: "
    # a tier that ended before pytest could count has failed as a whole
    awk '{n += $2} END {exit n > 0}' "$SEEDBED_TEST_COUNTS" && echo "0 1 0" >> "$SEEDBED_TEST_COUNTS"
  fi
  {
    echo "$result$tier: $((SECONDS - begun)) s"
    cat "$SEEDBED_TEST_TIMES" 2> /dev/null
  } >> "$folder/report"
}

run_target() { # run_target TARGET: print its output, whole where others print too
  if [ "${#lanes[@]}" = 1 ]; then
    make --no-print-directory "$1"
    return
  fi
  local code=0
  echo "begins: $1"
  make --no-print-directory "$1" > "$folder/$1.output" 2>&1 || code=$?
  (
    flock 9
    echo "== $1"
    cat "$folder/$1.output"
  ) 9> "$folder/printing"
  return "$code"
}

[ -z "${SEEDBED_TEST_MINUTES:-}" ] || export SEEDBED_TEST_LATEST=$(($(date +%s) + SEEDBED_TEST_MINUTES * 60))
set -m # lanes are process groups of their own, which are interrupted with this one
pids=()
trap 'for pid in "${pids[@]}"; do kill -INT -- "-$pid"; done; wait; exit 130' INT TERM
for lane in "${lanes[@]}"; do
  for tier in $lane; do run_tier "$tier"; done < /dev/null &
  pids+=("$!")
done
for pid in "${pids[@]}"; do wait "$pid"; done
cat "$folder/report" 2> /dev/null
read -r passed failed skipped < <(cat "$folder"/*.counts 2> /dev/null | awk '{p += $1; f += $2; s += $3} END {print p + 0, f + 0, s + 0}')
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ]
