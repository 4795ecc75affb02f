// Fused attention on AVX-512, f32 operands. Compiled with -mavx512f -mavx512dq.
#include "kernels/cpu/attention/tile_avx512.inl.h"
#include "kernels/cpu/attention/tile_kernels.inl.h"

namespace annulus::kernels::cpu {

constinit const TileKernels kAvx512Tiles = MakeTileKernels<Avx512>("avx512");

}  // namespace annulus::kernels::cpu
