#!/usr/bin/env bash
# Run tiers of tests one after the other and tell what each took: tests/tiers.sh TARGET...
# With SEEDBED_TEST_MINUTES=N no tier begins later than N minutes after the first; it is told as not run.
set -uo pipefail
told=()
for tier in "$@"; do
  if [ -n "${SEEDBED_TEST_MINUTES:-}" ] && [ "$SECONDS" -gt $((SEEDBED_TEST_MINUTES * 60)) ]; then
    told+=("not run: $tier: the tiers before it took $((SECONDS / 60)) of the $SEEDBED_TEST_MINUTES minutes in which one may begin")
    continue
  fi
  begun=$SECONDS
  if ! make --no-print-directory "$tier"; then
    printf '%s\n' "${told[@]}" "failed: $tier: $((SECONDS - begun)) s"
    exit 1
  fi
  told+=("$tier: $((SECONDS - begun)) s")
done
printf '%s\n' "${told[@]}"
