#!/bin/sh
# expect_job.sh STATUS TEXT COMMAND...: runs COMMAND; passes when it ends with STATUS (`any`: any but
# 0) and prints TEXT (an extended regular expression).
status=$1 text=$2
shift 2
output=$(timeout --kill-after=5 100 "$@" 2>&1)
ended=$?
printf '%s\n' "$output"
if [ "$status" = any ] && [ $ended -eq 0 ] || [ "$status" != any ] && [ $ended -ne "$status" ]; then
  echo "ended with $ended, not $status"
  exit 1
fi
# 124 and 137: not the job's end but that of our patience.
if [ $ended -eq 124 ] || [ $ended -eq 137 ]; then
  echo "the job hung"
  exit 1
fi
if ! printf '%s\n' "$output" | grep -Eq "$text"; then
  echo "does not say: $text"
  exit 1
fi
