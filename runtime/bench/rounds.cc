#include "runtime/bench/rounds.h"

#include <algorithm>

#include "kernels/cpu/bf16_products.h"
#include "kernels/dry/dry_table.h"
#include "runtime/bench/bench_threads.h"
#include "runtime/bench/statistics.h"

namespace annulus::runtime {
namespace {

using kernels::View;

std::array<View, 3> AllocateMatrices(kernels::StackMemory& memory, kernels::DType dtype,
                                     int64_t size) {
  std::array<View, 3> matrices;
  for (View& matrix : matrices) {
    matrix = memory.Allocate(dtype, {size, size}, kernels::MemoryCategory::kWorkspace, "roof");
  }
  return matrices;
}

kernels::MatMulArgs ProductOf(const std::array<View, 3>& matrices) {
  return {.a = matrices[0], .b = matrices[1], .c = matrices[2]};
}

int64_t RoofBytes(const kernels::KernelTable& table, kernels::DType dtype, int64_t size) {
  Arena arena = Arena::Dry();
  kernels::DryTable dry(table);
  kernels::Kernels(dry, arena).MatMul(ProductOf(AllocateMatrices(arena, dtype, size)));
  return arena.ledger().peak_bytes();
}

}  // namespace

Roof::Roof(kernels::KernelTable& table, kernels::DType dtype, int64_t size)
    : arena_(RoofBytes(table, dtype, size),
             table.ReserveTensorMemory(RoofBytes(table, dtype, size))),
      kernels_(table, arena_),
      matrices_(AllocateMatrices(arena_, dtype, size)) {
  FillRandom(kernels_, matrices_[0], 1);
  FillRandom(kernels_, matrices_[1], 2);
}

double Roof::Seconds(Clock clock) {
  kernels_.table().Wait();
  return SecondsOf(clock, [this] {
    kernels_.MatMul(ProductOf(matrices_));
    kernels_.table().Wait();
  });
}

double Roof::flops() const {
  const auto size = static_cast<double>(matrices_[0].dim(0));
  return 2 * size * size * size;
}

std::string Roof::Caveat(kernels::DType dtype, int threads) {
  if (dtype != kernels::DType::kBF16 || threads == kOnDevice) return "";
  const kernels::cpu::Bf16Choice choice = kernels::cpu::ChooseBf16Products();
  if (choice.products == kernels::cpu::Bf16Products::kNative) return "";
  return fmt::format(
      "the bf16 roof is f32 arithmetic on widened blocks ({}): its ratios do not say how near "
      "attention comes to bf16 arithmetic, and naive bf16 attention is built on the same products",
      choice.reason);
}

double SecondsTogether(Roof& roof, Clock clock, parallel::Communicator& group) {
  group.Barrier();
  std::array<double, 1> slowest{roof.Seconds(clock)};
  group.AllReduceMax(slowest);
  return slowest[0];
}

std::vector<std::vector<Round>> RunRounds(std::span<Contestant* const> contestants, Roof& roof,
                                          Clock clock, int64_t repetitions) {
  std::vector<std::vector<Round>> rounds(contestants.size());
  for (int64_t r = -1; r < repetitions; ++r) {
    for (size_t c = 0; c < contestants.size(); ++c) {
      const double roof_s = roof.Seconds(clock);
      const Contestant::PassTimes times = contestants[c]->Run(clock);
      if (r >= 0) rounds[c].push_back({roof_s, times.forward_s, times.backward_s});
    }
  }
  return rounds;
}

PassSummary Summarise(std::span<const Round> rounds, double (*seconds)(const Round&), double flops,
                      double roof_flops) {
  std::vector<double> times, roof_times, ratios;
  for (const Round& round : rounds) {
    times.push_back(seconds(round));
    roof_times.push_back(round.roof_s);
    ratios.push_back(flops / seconds(round) / (roof_flops / round.roof_s));
  }
  const auto [least, most] = std::minmax_element(ratios.begin(), ratios.end());
  return {.ms = 1e3 * Median(times),
          .gflops = 1e-9 * flops / Median(times),
          .roof_gflops = 1e-9 * roof_flops / Median(roof_times),
          .roof_ratio = Median(ratios),
          .roof_ratio_min = *least,
          .roof_ratio_max = *most};
}

}  // namespace annulus::runtime
