#!/usr/bin/env bash
# Sets up and passes the tests: installs what is missing, builds with warnings as errors, runs every
# test. Re-runnable. Usage: bash tests/run.sh [--sanitize]
# --sanitize runs them again under AddressSanitizer + UBSan: some 20 CPU minutes more.
set -euo pipefail
cd "$(dirname "$0")/.."
. tests/packages.sh

sanitize=0
for argument in "$@"; do
  case $argument in
    --sanitize) sanitize=1 ;;
    *) echo "usage: bash tests/run.sh [--sanitize]" >&2; exit 2 ;;
  esac
done

install_packages "${annulus_packages[@]}"
# Open MPI refuses root and more ranks than cores unless told; build machines have both.
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
export OMPI_MCA_rmaps_base_oversubscribe=1

jobs=$(nproc)
# build_and_test PRESET CTEST_ARGUMENTS...
build_and_test() {
  local preset=$1
  shift
  echo "== preset $preset: configure and build"
  cmake --preset "$preset" >/dev/null
  cmake --build --preset "$preset" -j "$jobs"
  echo "== preset $preset: tests"
  ctest --preset "$preset" -j "$jobs" "$@"
}

build_and_test ci
if [ "$sanitize" -eq 1 ]; then
  build_and_test debug
fi
echo "== all tests passed"
