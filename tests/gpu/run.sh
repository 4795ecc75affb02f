#!/usr/bin/env bash
# Verifies annulus on a machine with one GPU and measures it: the ring's driver beside the bare kernel,
# the rates of the GPU, attention beside an MLP and beside PyTorch's. One JSON file and one of Markdown
# tables for docs/results/. The machine needs a driver, CUDA's libraries (the toolkit's, or
# those that PyTorch brings) and python3; PyTorch only for the comparison. No network, no packages.
# Usage: bash tests/gpu/run.sh [--pack DIRECTORY] [--out DIRECTORY] [--quick] [--smoke] [--only STEP...]
# --smoke: sizes so small that an emulated GPU runs them, to try this; run_test.py does.
# --pack: what tests/gpu/pack.sh gathered, perhaps elsewhere: DIRECTORY, or DIRECTORY.tar.gz, which is
# unpacked. Where there is neither, it is built here.
set -euo pipefail
cd "$(dirname "$0")/../.."

# CUDA's libraries may come with the toolkit or, without being on the loader's path, with PyTorch.
places=$(python3 - <<'PY'
import glob, sys
found = [d for path in sys.path for d in glob.glob(path + "/nvidia/*/lib")]
print(":".join(found))
PY
)
export LD_LIBRARY_PATH="/usr/local/cuda/lib64:$places:${LD_LIBRARY_PATH:-}"
exec python3 tests/gpu/run.py "$@"
