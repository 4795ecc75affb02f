#include "runtime/run/roof.h"

#include <algorithm>
#include <array>
#include <chrono>

#include "kernels/base/kernels.h"
#include "runtime/memory/arena.h"

namespace annulus::runtime {
namespace {

// What rounding up to the stack's alignment may add.
constexpr int64_t kSlack = int64_t{1} << 12;

// What its scratch is asked for by.
kernels::MatMulArgs ProductOf(int64_t size, kernels::DType dtype) {
  const kernels::View matrix(nullptr, dtype, {size, size});
  return {.a = matrix, .b = matrix, .c = matrix};
}

}  // namespace

double MeasureMatMulRoof(kernels::KernelTable& table, kernels::DType dtype,
                         parallel::Communicator& world) {
  constexpr int kRounds = 6;
  const int64_t size = table.RoofExtent();
  const int64_t bytes =
      3 * size * size * SizeOf(dtype) + table.MatMulScratchBytes(ProductOf(size, dtype)) + kSlack;
  Arena arena(bytes, table.ReserveTensorMemory(bytes));
  kernels::Kernels kernels(table, arena);
  const auto allocate = [&] {
    const kernels::View view =
        arena.Allocate(dtype, {size, size}, kernels::MemoryCategory::kWorkspace, "roof");
    kernels.Zero(view);
    return view;
  };
  const kernels::MatMulArgs args{.a = allocate(), .b = allocate(), .c = allocate()};
  const double extent = static_cast<double>(size), flops = 2 * extent * extent * extent;
  table.Wait();
  double best = 0;
  for (int round = 0; round < kRounds; ++round) {
    world.Barrier();
    const auto start = std::chrono::steady_clock::now();
    kernels.MatMul(args);
    table.Wait();
    const std::chrono::duration<double> time = std::chrono::steady_clock::now() - start;
    std::array<double, 1> slowest{time.count()};
    world.AllReduceMax(slowest);
    best = std::max(best, flops * world.size() / slowest[0]);
  }
  return best;
}

}  // namespace annulus::runtime
