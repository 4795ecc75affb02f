#!/usr/bin/env bash
# Every policy passes a clean tree and fails one that breaks it.
set -euo pipefail
policies=$(cd "$(dirname "$0")" && pwd)
tree=$(mktemp -d)
trap 'rm -rf "$tree"' EXIT
failures=0

clean_tree() {
  rm -rf "${tree:?}"/*
  mkdir -p "$tree"/kernels/base "$tree"/parallel "$tree"/kernels/cpu "$tree"/runtime/{io,data} \
    "$tree"/tests/kernels
  touch "$tree"/parallel/b.h "$tree"/kernels/cpu/c.h "$tree"/runtime/data/b.h
  printf '#include "kernels/base/a.h"\n' >"$tree/kernels/base/a.cc"
  printf '#include <vector>\n' >"$tree/kernels/base/a.h"
  printf 'int t;\n' >"$tree/tests/kernels/a_test.cc"
  printf '#!/bin/sh\n' >"$tree/tests/a.sh"
  printf 'add_executable(a a_test.cc)\n' >"$tree/tests/kernels/CMakeLists.txt"
}

# breaks POLICY FILE TEXT: POLICY passes the clean tree, and fails once TEXT ends FILE.
breaks() {
  clean_tree
  local before=0 after=0
  "$policies/$1.sh" "$tree" >"$tree/output" || before=$?
  printf '%b\n' "$3" >>"$tree/$2"
  "$policies/$1.sh" "$tree" >"$tree/output" 2>&1 || after=$?
  [ "$before" -eq 0 ] && [ "$after" -ne 0 ] && grep -q "$2" "$tree/output" && return 0
  echo "$1: $before on a clean tree, $after with '$3' in $2; it says:"
  cat "$tree/output"
  failures=$((failures + 1))
}

breaks includes kernels/base/a.h '#include "parallel/b.h"'
breaks includes runtime/io/a.h '#include "runtime/data/b.h"'
breaks includes kernels/base/a.h '#include "a.h"'
breaks includes runtime/io/a.cc '#include <mpi.h>'
breaks includes parallel/a.cc '#include "kernels/cpu/c.h"'
breaks includes kernels/a.cc '#include "kernels/base/a.h"'
breaks tests_registered tests/kernels/b_test.cc 'int b;'
breaks file_sizes kernels/base/a.cc "$(printf '\\n%.0s' {1..400})"
breaks scripts tests/a.sh 'if'
breaks words kernels/base/a.cc '// TO''DO'
breaks words tests/a.sh '/ho''me/someone'
if ! "$policies/formatted.sh" | grep -q SKIPPED; then
  breaks formatted kernels/base/a.cc 'int  a;'
fi
[ "$failures" -eq 0 ]
