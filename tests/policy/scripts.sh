#!/usr/bin/env bash
# Every script parses, and shellcheck (where it is installed) has no warning.
. "$(dirname "$0")/policy.sh"

mapfile -t scripts < <(files_named '*.sh' && find .ci -type f 2>/dev/null)
for script in "${scripts[@]}"; do
  bash -n "$script" || violation "$script does not parse"
done
if command -v shellcheck >/dev/null; then
  shellcheck --external-sources --source-path=SCRIPTDIR --severity=warning \
    "${scripts[@]}" || violation "shellcheck warns"
else
  echo "shellcheck is not installed: syntax alone was checked"
fi
finish
