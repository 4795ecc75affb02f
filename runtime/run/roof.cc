#include "runtime/run/roof.h"

#include <algorithm>
#include <array>
#include <chrono>

#include "kernels/base/kernels.h"
#include "runtime/memory/arena.h"

namespace annulus::runtime {

double MeasureMatMulRoof(kernels::KernelTable& table, kernels::DType dtype,
                         parallel::Communicator& world) {
  constexpr int64_t kSize = 1024;
  constexpr int kRounds = 6;
  Arena arena(int64_t{32} << 20);
  kernels::Kernels kernels(table, arena);
  const auto allocate = [&] {
    const kernels::View view =
        arena.Allocate(dtype, {kSize, kSize}, kernels::MemoryCategory::kWorkspace, "roof");
    kernels.Zero(view);
    return view;
  };
  const kernels::MatMulArgs args{.a = allocate(), .b = allocate(), .c = allocate()};
  double best = 0;
  for (int round = 0; round < kRounds; ++round) {
    world.Barrier();
    const auto start = std::chrono::steady_clock::now();
    kernels.MatMul(args);
    const std::chrono::duration<double> time = std::chrono::steady_clock::now() - start;
    std::array<double, 1> slowest{time.count()};
    world.AllReduceMax(slowest);
    best = std::max(best, 2.0 * kSize * kSize * kSize * world.size() / slowest[0]);
  }
  return best;
}

}  // namespace annulus::runtime
