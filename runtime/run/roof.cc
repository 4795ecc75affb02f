#include "runtime/run/roof.h"

#include <algorithm>
#include <array>
#include <chrono>

#include "kernels/base/kernels.h"
#include "runtime/memory/arena.h"

namespace annulus::runtime {
namespace {

// Large enough for the full rate of cores.
constexpr int64_t kCoresExtent = 1024;
// A device's rate is measured by ever larger products, until one takes so long.
constexpr int64_t kLeastDeviceExtent = 128;
constexpr int64_t kMostDeviceExtent = 8192;
constexpr double kDeviceProductS = 2e-3;
// What rounding up to the stack's alignment may add.
constexpr int64_t kSlackBytes = int64_t{1} << 12;

class SquareProduct {
 public:
  SquareProduct(kernels::KernelTable& table, kernels::DType dtype, int64_t extent)
      : table_(table),
        arena_(Bytes(table, dtype, extent), table.ReserveTensorMemory(Bytes(table, dtype, extent))),
        kernels_(table, arena_),
        args_{.a = Matrix(dtype, extent), .b = Matrix(dtype, extent), .c = Matrix(dtype, extent)},
        flops_(2 * static_cast<double>(extent) * static_cast<double>(extent * extent)) {}

  double flops() const { return flops_; }

  // All ranks' product together, in seconds.
  double Time(parallel::Communicator& world) {
    table_.Wait();
    world.Barrier();
    const auto start = std::chrono::steady_clock::now();
    kernels_.MatMul(args_);
    table_.Wait();
    const std::chrono::duration<double> time = std::chrono::steady_clock::now() - start;
    std::array<double, 1> slowest{time.count()};
    world.AllReduceMax(slowest);
    return slowest[0];
  }

 private:
  static int64_t Bytes(const kernels::KernelTable& table, kernels::DType dtype, int64_t extent) {
    const kernels::View matrix(nullptr, dtype, {extent, extent});
    return 3 * matrix.size_bytes() + kSlackBytes +
           table.MatMulScratchBytes({.a = matrix, .b = matrix, .c = matrix});
  }

  kernels::View Matrix(kernels::DType dtype, int64_t extent) {
    const kernels::View matrix =
        arena_.Allocate(dtype, {extent, extent}, kernels::MemoryCategory::kWorkspace, "roof");
    kernels_.Zero(matrix);
    return matrix;
  }

  kernels::KernelTable& table_;
  Arena arena_;
  kernels::Kernels kernels_;
  kernels::MatMulArgs args_;
  double flops_;
};

int64_t RoofExtent(kernels::KernelTable& table, kernels::DType dtype,
                   parallel::Communicator& world) {
  if (table.ReadMemoryUse().total_bytes == 0) return kCoresExtent;
  int64_t extent = kLeastDeviceExtent;
  while (extent < kMostDeviceExtent) {
    SquareProduct product(table, dtype, extent);
    product.Time(world);  // the first one loads its kernel
    if (product.Time(world) >= kDeviceProductS) break;
    extent *= 2;
  }
  return extent;
}

}  // namespace

double MeasureMatMulRoof(kernels::KernelTable& table, kernels::DType dtype,
                         parallel::Communicator& world) {
  constexpr int kRounds = 6;
  SquareProduct product(table, dtype, RoofExtent(table, dtype, world));
  double best = 0;
  for (int round = 0; round < kRounds; ++round) {
    best = std::max(best, product.flops() * world.size() / product.Time(world));
  }
  return best;
}

}  // namespace annulus::runtime
