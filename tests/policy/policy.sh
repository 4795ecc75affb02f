# shellcheck shell=bash
# What the policies share. Sourced by them; leaves them at the root of the source tree, which is
# their first argument where it is not the one they lie in.
set -euo pipefail
export LC_ALL=C
cd "${1:-$(dirname "${BASH_SOURCE[0]}")/../..}"

source_directories=()
for directory in kernels parallel runtime examples tests; do
  [ -d "$directory" ] && source_directories+=("$directory")
done

# Our files whose names match the patterns, one a line.
files_named() {
  local pattern
  for pattern in "$@"; do
    find "${source_directories[@]}" -type f -name "$pattern"
  done | sort
}

# The name of clang-format 14, or nothing where there is none.
find_clang_format() {
  local name
  for name in clang-format-14 clang-format; do
    if "$name" --version 2>/dev/null | grep -q 'version 14\.'; then
      echo "$name"
      return
    fi
  done
}

violations=0
# Records what breaks the policy.
violation() {
  printf '%s\n' "$*"
  violations=$((violations + 1))
}

# The end of every policy.
finish() {
  [ "$violations" -eq 0 ] || { echo "violations: $violations"; exit 1; }
}
