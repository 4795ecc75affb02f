#include "runtime/run/roof.h"

#include <algorithm>
#include <chrono>

#include "kernels/base/kernels.h"
#include "runtime/memory/arena.h"

namespace annulus::runtime {

double MeasureMatMulRoof(kernels::KernelTable& table) {
  constexpr int64_t kSize = 1024;
  constexpr int kRuns = 6;
  Arena arena(int64_t{32} << 20);
  kernels::Kernels kernels(table, arena);
  const auto allocate = [&] {
    const kernels::View view = arena.Allocate(kernels::DType::kF32, {kSize, kSize},
                                              kernels::MemoryCategory::kWorkspace, "roof");
    kernels.Zero(view);
    return view;
  };
  const kernels::MatMulArgs args{.a = allocate(), .b = allocate(), .c = allocate()};
  double best = 0;
  for (int run = 0; run < kRuns; ++run) {
    const auto start = std::chrono::steady_clock::now();
    kernels.MatMul(args);
    const std::chrono::duration<double> time = std::chrono::steady_clock::now() - start;
    best = std::max(best, 2.0 * kSize * kSize * kSize / time.count());
  }
  return best;
}

}  // namespace annulus::runtime
