#!/usr/bin/env bash
# Runs clang-tidy (.clang-tidy) over the C++ files given, or all of them. Needs a configured build
# directory for the compile commands. Usage: bash tests/lint.sh [--build DIR] [FILE.cc ...]
# parallel/ and runtime/ alone take 8 CPU minutes. What a branch changed:
#   bash tests/lint.sh $(git diff --name-only main -- '*.cc')
set -euo pipefail
cd "$(dirname "$0")/.."

build=build/ci
if [ "${1:-}" = --build ]; then
  build=$2
  shift 2
fi
tidy=clang-tidy-14
command -v "$tidy" >/dev/null || tidy=clang-tidy
command -v "$tidy" >/dev/null || { echo "lint.sh needs clang-tidy" >&2; exit 2; }
[ -e "$build/compile_commands.json" ] || { echo "no compile commands in $build" >&2; exit 2; }

# Headers that GCC has precompiled are none to clang: files are read as they stand.
commands=$(mktemp -d)
trap 'rm -rf "$commands"' EXIT
sed 's| -include [^ ]*/cmake_pch\.hxx||' "$build/compile_commands.json" >"$commands/compile_commands.json"

if [ $# -eq 0 ]; then
  mapfile -t files < <(git ls-files 'kernels/*.cc' 'parallel/*.cc' 'runtime/*.cc' 'tests/*.cc')
else
  files=("$@")
fi
# A file that this configuration does not compile (as without MPI) has no command to check it by.
for file in "${files[@]}"; do
  if grep -q "/$file\"" "$build/compile_commands.json"; then printf '%s\0' "$file"; fi
done | xargs -0 -n 1 -P "$(nproc)" "$tidy" -p "$commands" --quiet \
  --extra-arg=-Wno-unknown-warning-option  # GCC has some of its own
