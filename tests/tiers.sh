#!/usr/bin/env bash
# Run tiers of tests one after the other, also after one that failed: tests/tiers.sh TARGET...
# Ends with what each tier took, then with one line: the tests passed, failed and skipped in all of them.
# With SEEDBED_TEST_MINUTES=N no tier begins later than N minutes after the first; it is told as not run.
set -uo pipefail
SEEDBED_TEST_COUNTS=$(mktemp)
export SEEDBED_TEST_COUNTS # each pytest adds a line: tests/conftest.py
trap 'rm -f "$SEEDBED_TEST_COUNTS"' EXIT
told=() broken=0
for tier in "$@"; do
  if [ -n "${SEEDBED_TEST_MINUTES:-}" ] && [ "$SECONDS" -gt $((SEEDBED_TEST_MINUTES * 60)) ]; then
    told+=("not run: $tier: the tiers before it took $((SECONDS / 60)) of the $SEEDBED_TEST_MINUTES minutes in which one may begin")
    continue
  fi
  begun=$SECONDS failed=$(awk '{n += $2} END {print n + 0}' "$SEEDBED_TEST_COUNTS") result=
  if ! make --no-print-directory "$tier"; then
    result="failed: "
    # a tier that ended before pytest could count has failed as a whole
    [ "$(awk '{n += $2} END {print n + 0}' "$SEEDBED_TEST_COUNTS")" -gt "$failed" ] || broken=$((broken + 1))
  fi
  told+=("$result$tier: $((SECONDS - begun)) s")
done
printf '%s\n' "${told[@]}"
read -r passed failed skipped < <(awk '{p += $1; f += $2; s += $3} END {print p + 0, f + 0, s + 0}' "$SEEDBED_TEST_COUNTS")
failed=$((failed + broken))
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ]
