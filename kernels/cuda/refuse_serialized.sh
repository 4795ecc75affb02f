#!/usr/bin/env bash
# Runs a compilation, and fails where ptxas tells that it serialised wgmma instructions: it does so
# as information, which no option makes an error. Usage: refuse_serialized.sh [LAUNCHER] NVCC ARG...
set -uo pipefail

told=$("$@" 2>&1)
status=$?
[ -z "$told" ] || printf '%s\n' "$told" >&2
[ "$status" -eq 0 ] || exit "$status"
grep -q 'wgmma.* serialized' <<<"$told" || exit 0

# An object that is newer than its source would not be compiled again.
while [ $# -gt 1 ]; do
  [ "$1" != -o ] || rm -f "$2"
  shift
done
echo "error: wgmma instructions that wait for each other are refused" >&2
exit 1
