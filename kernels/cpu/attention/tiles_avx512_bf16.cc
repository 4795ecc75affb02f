// Fused attention on AVX-512 with its dot products of bf16 pairs.
// Compiled with -mavx512f -mavx512dq -mavx512bw -mavx512bf16.
#include "kernels/cpu/attention/tile_avx512_bf16.inl.h"
#include "kernels/cpu/attention/tile_kernels.inl.h"

namespace annulus::kernels::cpu {

constinit const TileKernels kAvx512Bf16Tiles = MakeTileKernels<Avx512Bf16>("avx512_bf16");

}  // namespace annulus::kernels::cpu
