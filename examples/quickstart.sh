#!/usr/bin/env bash
# Sets up everything and trains: installs what is missing, builds, and trains the model of
# quickstart.ini over two MPI ranks. Re-runnable. Further arguments go to `annulus train`.
set -euo pipefail
cd "$(dirname "$0")/.."
. tests/packages.sh

install_packages "${annulus_packages[@]}"
echo "== building"
cmake --preset release >/dev/null
cmake --build --preset release -j "$(nproc)" --target annulus
echo "== training over 2 ranks"
# Open MPI refuses root and more ranks than cores unless told; a container often has both.
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
export OMPI_MCA_rmaps_base_oversubscribe=1
mpirun -n 2 build/release/annulus train --config examples/quickstart.ini "$@"
