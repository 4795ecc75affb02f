#include "parallel/process_grid.h"

#include <fmt/ranges.h>

#include <vector>

#include "kernels/base/error.h"
#include "parallel/divisors.h"

namespace annulus::parallel {
namespace {

void CheckContextSize(int context_size, int ranks) {
  if (context_size >= 1 && ranks % context_size == 0) return;
  ThrowConfigError(
      "parallel.context_size = {} does not divide the {} ranks of this run; it may be {}, or 0 for "
      "all of them",
      context_size, ranks, fmt::join(DivisorsOf(ranks), ", "));
}

// `count` ranks from `first` on, every `stride`-th.
std::vector<int> Every(int first, int stride, int count) {
  std::vector<int> ranks;
  for (int i = 0; i < count; ++i) ranks.push_back(first + i * stride);
  return ranks;
}

}  // namespace

ProcessGrid::ProcessGrid(Communicator& world, int context_size) : world_(world) {
  const int ranks = world.size();
  if (context_size == 0) context_size = ranks;
  CheckContextSize(context_size, ranks);
  const int context_index = world.rank() % context_size;
  context_ = world.Subgroup(Every(world.rank() - context_index, 1, context_size));
  data_ = world.Subgroup(Every(context_index, context_size, ranks / context_size));
}

}  // namespace annulus::parallel
