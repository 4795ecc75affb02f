#!/usr/bin/env bash
# Times PyTorch's scaled_dot_product_attention (flash attention on CPU) and annulus's fused attention
# by turns. Installs PyTorch from PyPI, some 3 GB, into a virtual environment that is removed at the
# end. Not part of the tests.
# Usage: bash tests/peers/pytorch.sh [--venv DIR] [OPTIONS of sdpa.py]
# --venv DIR: uses the environment in DIR, makes it where it is missing, and leaves it there.
set -euo pipefail
cd "$(dirname "$0")/../.."

venv=
if [ "${1:-}" = --venv ]; then
  venv=${2:?--venv needs a directory}
  shift 2
fi
if [ -z "$venv" ]; then
  venv=$(mktemp -d)
  trap 'rm -rf "$venv"' EXIT
fi
[ -x "$venv/bin/python" ] || python3 -m venv "$venv"
"$venv/bin/python" -c 'import torch' 2>/dev/null || "$venv/bin/pip" install --quiet torch

cmake --preset release >/dev/null
cmake --build --preset release --target annulus -j "$(nproc)" >/dev/null
"$venv/bin/python" -W ignore tests/peers/sdpa.py --annulus build/release/annulus "$@"
