#include "runtime/bench/workload.h"

#include <algorithm>
#include <cmath>
#include <random>
#include <vector>

#include "kernels/base/bfloat16.h"
#include "kernels/dry/dry_table.h"

namespace annulus::runtime {
namespace {

using kernels::BFloat16;
using kernels::DType;
using kernels::View;

// Random numbers repeat after so many: no kernel's time depends on them.
constexpr int64_t kDistinct = 1 << 16;

std::vector<float> RandomBlock(uint64_t seed, double deviation, int64_t count) {
  std::mt19937_64 bits(seed);
  const auto edge = static_cast<float>(deviation * std::sqrt(3.0));
  std::uniform_real_distribution<float> uniform(-edge, edge);
  std::vector<float> values(static_cast<size_t>(count));
  for (float& value : values) value = uniform(bits);
  return values;
}

template <class T>
void CopyRepeatedly(kernels::Kernels& kernels, const std::vector<T>& block, View flat) {
  const auto step = static_cast<int64_t>(block.size());
  for (int64_t begin = 0; begin < flat.size(); begin += step) {
    kernels.CopyFromHost(block.data(), flat.Slice(0, begin, std::min(step, flat.size() - begin)));
  }
}

}  // namespace

void FillRandom(kernels::Kernels& kernels, View view, uint64_t seed, double deviation) {
  const std::vector<float> block = RandomBlock(seed, deviation, std::min(kDistinct, view.size()));
  const View flat = view.Reshape({view.size()});
  if (view.dtype == DType::kF32) return CopyRepeatedly(kernels, block, flat);
  std::vector<BFloat16> rounded;
  for (const float value : block) rounded.push_back(kernels::ToBFloat16(value));
  CopyRepeatedly(kernels, rounded, flat);
}

Footprint FootprintOf(const MakeWorkload& make, const kernels::KernelTable& table) {
  Arena arena = Arena::Dry();
  kernels::DryTable dry(table);
  kernels::Kernels kernels(dry, arena);
  const std::unique_ptr<Workload> workload = make({kernels, arena});
  Footprint footprint;
  workload->Forward();
  footprint.forward_bytes = arena.ledger().peak_bytes();
  workload->PrepareBackward();
  workload->Backward();
  footprint.backward_bytes = arena.ledger().peak_bytes();
  footprint.activation_bytes = arena.ledger().peak_activation_bytes();
  return footprint;
}

Contestant::Contestant(const MakeWorkload& make, kernels::KernelTable& table)
    : footprint_(FootprintOf(make, table)),
      arena_(footprint_.backward_bytes, table.ReserveTensorMemory(footprint_.backward_bytes)),
      kernels_(table, arena_),
      workload_(make({kernels_, arena_})) {
  workload_->Fill();
}

Contestant::PassTimes Contestant::Run(Clock clock) {
  kernels::MemoryScope scope(arena_);
  PassTimes times;
  kernels::KernelTable& table = kernels_.table();
  table.Wait();
  times.forward_s = SecondsOf(clock, [&] {
    workload_->Forward();
    table.Wait();
  });
  workload_->PrepareBackward();
  table.Wait();
  times.backward_s = SecondsOf(clock, [&] {
    workload_->Backward();
    table.Wait();
  });
  return times;
}

}  // namespace annulus::runtime
