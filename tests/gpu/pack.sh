#!/usr/bin/env bash
# Builds what run.sh needs on a machine with a GPU, and gathers it, with the libraries that such a
# machine may lack, in one directory and in DIRECTORY.tar.gz, a third of its size, to be carried there:
# MPI is left out, so ranks are threads there.
# Needs nvcc and the packages of tests/packages.sh. Usage: bash tests/gpu/pack.sh [DIRECTORY]
set -euo pipefail
cd "$(dirname "$0")/../.."
directory=${1:-build/gpu-pack}
most_bytes=$((60 << 20))

cmake --preset gpu >/dev/null
cmake --build --preset gpu -j "$(nproc)" --target annulus gpu-tests
rm -rf "$directory"
mkdir -p "$directory/lib"
cp build/gpu/annulus build/gpu/tests/*_gpu_test "$directory"
strip "$directory"/annulus "$directory"/*_gpu_test

# Not what every machine has, nor what comes with CUDA or the driver.
for file in "$directory"/annulus "$directory"/*_gpu_test; do
  ldd "$file" | awk '$3 ~ /^\// { print $3 }'
done | sort -u | grep -Ev '/(ld-linux.*|lib(c|m|dl|rt|pthread|stdc\+\+|gcc_s)|libcuda|libcublas(Lt)?|libcudart|libnccl)\.so' |
  xargs -I{} cp -L {} "$directory/lib"
strip --strip-unneeded "$directory"/lib/*

archive=$directory.tar.gz
tar -czf "$archive" -C "$(dirname "$directory")" "$(basename "$directory")"
bytes=$(stat -c %s "$archive")
echo "$directory: $(du -sm "$directory" | cut -f1) MiB, $archive: $((bytes >> 20)) MiB"
if [ "$bytes" -gt "$most_bytes" ]; then
  echo "pack.sh: more than $((most_bytes >> 20)) MiB, which is the most that run.sh's users carry" >&2
  exit 1
fi
