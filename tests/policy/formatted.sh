#!/usr/bin/env bash
# Every C++ file is as clang-format leaves it. Its releases differ; ours is 14.
. "$(dirname "$0")/policy.sh"

format=$(find_clang_format)
[ -n "$format" ] || { echo "SKIPPED: there is no clang-format 14"; exit 0; }
while read -r file; do
  violation "$file is not formatted: clang-format -i $file"
done < <(files_named '*.cc' '*.h' '*.cu' | xargs "$format" --dry-run 2>&1 |
  sed -nE 's/^([^:]+):[0-9]+:.*clang-format-violations.*/\1/p' | uniq)
finish
