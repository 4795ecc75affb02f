#include "parallel/head_layout.h"

#include "kernels/base/error.h"
#include "parallel/communicator.h"

namespace annulus::parallel {
namespace {

// Whether the heads of `share`, in groups of `size`, each read a single key/value head, where
// `group` heads of the model share one.
bool ReadsOneEach(const Share& share, int64_t size, int64_t group) {
  for (int64_t first = share.begin; first < share.end; first += size) {
    if (first / group != (first + size - 1) / group) return false;
  }
  return true;
}

int64_t LargestEqualGroup(const Share& share, int64_t group) {
  int64_t size = share.size();
  while (share.size() % size != 0 || !ReadsOneEach(share, size, group)) --size;
  return size;
}

}  // namespace

HeadMap::HeadMap(const std::vector<std::vector<int64_t>>& heads) {
  for (const std::vector<int64_t>& of_rank : heads) {
    Check(!of_rank.empty(), "a rank without a head among {}", heads.size());
    std::vector<HeadRun> runs;
    for (const int64_t head : of_rank) {
      const bool follows = !runs.empty() && runs.back().begin + runs.back().count == head;
      if (!follows) runs.push_back({head, 0});
      ++runs.back().count;
    }
    runs_.push_back(std::move(runs));
  }
}

int64_t HeadMap::count(int rank) const {
  int64_t count = 0;
  for (const HeadRun& run : runs(rank)) count += run.count;
  return count;
}

HeadLayout LayOutHeads(int64_t heads, int64_t kv_heads, int ranks) {
  Check(ranks >= 1 && ranks <= heads && kv_heads >= 1 && heads % kv_heads == 0,
        "{} heads over {} key/value heads on {} ranks", heads, kv_heads, ranks);
  const int64_t group = heads / kv_heads;
  std::vector<std::vector<int64_t>> queries, keys;
  for (int rank = 0; rank < ranks; ++rank) {
    const Share share = ShareOf(heads, rank, ranks);
    std::vector<int64_t>& own_queries = queries.emplace_back();
    for (int64_t head = share.begin; head < share.end; ++head) own_queries.push_back(head);
    const int64_t size = LargestEqualGroup(share, group);
    std::vector<int64_t>& own_keys = keys.emplace_back();
    for (int64_t head = share.begin; head < share.end; head += size) {
      own_keys.push_back(head / group);
    }
  }
  return {HeadMap(queries), HeadMap(keys)};
}

}  // namespace annulus::parallel
