// Which heads each rank of a Ulysses group attends with, while it holds all of the group's tokens.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace annulus::parallel {

// Heads [begin, begin + count) of a model.
struct HeadRun {
  int64_t begin = 0;
  int64_t count = 0;
};

// The heads of each rank, in its order: runs of heads that follow one another. A head may be held
// by several ranks, and by one rank several times.
class HeadMap {
 public:
  // Every rank at least one head. `heads`: [rank][place] = head.
  explicit HeadMap(const std::vector<std::vector<int64_t>>& heads);

  int ranks() const { return static_cast<int>(runs_.size()); }
  // Heads of `rank`, as often as it holds them.
  int64_t count(int rank) const;
  const std::vector<HeadRun>& runs(int rank) const { return runs_[static_cast<size_t>(rank)]; }

 private:
  std::vector<std::vector<HeadRun>> runs_;
};

// Query heads go to the ranks in order, as evenly as they divide. Key/value heads follow the query
// heads that read them, so that one of them may be wanted by several ranks. Attention needs equal
// groups of query heads, one after the other, on its key/value heads; where a rank's share of the
// query heads cuts the model's groups unevenly, it holds a key/value head once for each of the
// largest equal groups that it can make: 6 heads of which 4 read head 0 and 2 read head 1 make
// groups of 2 on heads 0, 0, 1.
struct HeadLayout {
  HeadMap queries;
  HeadMap keys;
};

// Requires 1 <= ranks <= heads and heads % kv_heads == 0.
HeadLayout LayOutHeads(int64_t heads, int64_t kv_heads, int ranks);

}  // namespace annulus::parallel
