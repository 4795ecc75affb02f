#include "kernels/cpu/attention/tile_tables.h"

namespace annulus::kernels::cpu {

std::vector<const TileKernels*> RunnableTileKernels() {
  std::vector<const TileKernels*> tables;
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq")) {
    tables.push_back(&kAvx512Tiles);
  }
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
    tables.push_back(&kAvx2Tiles);
  }
#endif
  tables.push_back(&kPortableTiles);
  return tables;
}

const TileKernels& BestTileKernels() {
  static const TileKernels& best = *RunnableTileKernels().front();
  return best;
}

}  // namespace annulus::kernels::cpu
