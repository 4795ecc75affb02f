#include "kernels/cpu/attention/tile_tables.h"

#include "kernels/cpu/attention/amx.h"

namespace annulus::kernels::cpu {
namespace {

#if defined(__x86_64__)
bool RunsBf16Pairs() {
  return __builtin_cpu_supports("avx512bf16") && __builtin_cpu_supports("avx512bw");
}

// Intel's CPUs with AMX start a bf16 dot product every other cycle and two f32 ones every cycle:
// half the multiplications a second, so bf16 is better widened there.
bool HasSlowBf16Pairs() { return __builtin_cpu_is("intel") && HasAmxBf16(); }
#endif

}  // namespace

std::vector<const TileKernels*> RunnableTileKernels(DType dtype) {
  std::vector<const TileKernels*> tables;
#if defined(__x86_64__)
  const bool pairs = dtype == DType::kBF16 && RunsBf16Pairs();
  if (pairs && HasAmxBf16() && MayUseAmx()) tables.push_back(&kAmxTiles);
  if (pairs && !HasSlowBf16Pairs()) tables.push_back(&kAvx512Bf16Tiles);
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq")) {
    tables.push_back(&kAvx512Tiles);
  }
  if (pairs && HasSlowBf16Pairs()) tables.push_back(&kAvx512Bf16Tiles);
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
    tables.push_back(&kAvx2Tiles);
  }
#endif
  tables.push_back(&kPortableTiles);
  return tables;
}

const TileKernels& BestTileKernels(DType dtype) {
  static const TileKernels& f32 = *RunnableTileKernels(DType::kF32).front();
  static const TileKernels& bf16 = *RunnableTileKernels(DType::kBF16).front();
  return dtype == DType::kF32 ? f32 : bf16;
}

}  // namespace annulus::kernels::cpu
