#!/usr/bin/env bash
# Sets up and passes the tests: installs what is missing, builds with warnings as errors, runs every
# test. Re-runnable. Usage: bash tests/run.sh [--sanitize]
# --sanitize runs them again under AddressSanitizer + UBSan, and those of ranks as threads under
# ThreadSanitizer: some 25 CPU minutes more.
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

install_packages "${annulus_packages[@]}" "${annulus_policy_packages[@]}"
# Open MPI refuses root and more ranks than cores unless told; build machines have both.
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
export OMPI_MCA_rmaps_base_oversubscribe=1

jobs=$(nproc)
# build_and_test PRESET TARGET CTEST_ARGUMENTS...
build_and_test() {
  local preset=$1 target=$2
  shift 2
  echo "== preset $preset: configure and build"
  cmake --preset "$preset" >/dev/null
  cmake --build --preset "$preset" -j "$jobs" --target "$target"
  echo "== preset $preset: tests"
  ctest --preset "$preset" -j "$jobs" --no-tests=error --no-label-summary "$@"
}

build_and_test ci all
if [ "$sanitize" -eq 1 ]; then
  build_and_test debug all
  build_and_test tsan threads-tests -L threads
fi
echo "== all tests passed"
