#!/usr/bin/env bash
# Sets up and passes the tests: installs what is missing, builds with warnings as errors, runs every
# test, then again under AddressSanitizer + UBSan and the threaded ones under ThreadSanitizer.
# Re-runnable. Usage: bash tests/run.sh [--quick]   (--quick: no sanitizer builds)
set -euo pipefail
cd "$(dirname "$0")/.."
. tests/packages.sh

quick=0
for argument in "$@"; do
  case $argument in
    --quick) quick=1 ;;
    *) echo "usage: bash tests/run.sh [--quick]" >&2; exit 2 ;;
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
if [ "$quick" -eq 0 ]; then
  build_and_test debug
  # Under ThreadSanitizer: what runs ranks as threads. OpenMP's runtime is not instrumented, so each
  # rank computes on one thread.
  OMP_NUM_THREADS=1 build_and_test tsan -L threads
fi
echo "== all tests passed"
