#include "parallel/context_group.h"

#include <vector>

#include "kernels/base/error.h"

namespace annulus::parallel {
namespace {

// `count` ranks from `first` on, every `stride`-th.
std::vector<int> Every(int first, int stride, int count) {
  std::vector<int> ranks;
  for (int i = 0; i < count; ++i) ranks.push_back(first + i * stride);
  return ranks;
}

}  // namespace

ContextGroup::ContextGroup(Communicator& all, int ulysses_size)
    : all_(all), ulysses_size_(ulysses_size) {
  Check(ulysses_size >= 1 && all.size() % ulysses_size == 0,
        "Ulysses groups of {} in a context group of {}", ulysses_size, all.size());
  const int ulysses_index = all.rank() % ulysses_size;
  if (ulysses_size > 1) {
    own_ring_ = all.Subgroup(Every(ulysses_index, ulysses_size, all.size() / ulysses_size));
  }
  if (ulysses_size < all.size()) {
    own_ulysses_ = all.Subgroup(Every(all.rank() - ulysses_index, 1, ulysses_size));
  }
}

}  // namespace annulus::parallel
