#include "parallel/reduce.h"

#include <algorithm>
#include <array>

namespace annulus::parallel {

void SumInRankOrder(std::span<const float* const> sources, float* out, int64_t count) {
  constexpr int64_t kBlock = 512;  // of f64: stays in the first-level cache
  std::array<double, kBlock> sum;
  double* const acc = sum.data();
  for (int64_t begin = 0; begin < count; begin += kBlock) {
    const int64_t n = std::min(kBlock, count - begin);
    std::fill_n(acc, n, 0.0);
    for (const float* source : sources) {
      for (int64_t i = 0; i < n; ++i) acc[i] += static_cast<double>(source[begin + i]);
    }
    for (int64_t i = 0; i < n; ++i) out[begin + i] = static_cast<float>(acc[i]);
  }
}

}  // namespace annulus::parallel
