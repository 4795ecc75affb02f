// How the tokens of one sequence are split over the ranks of a context group.
#pragma once

#include <cstdint>
#include <string_view>

#include "kernels/base/positions.h"

namespace annulus::parallel {

enum class PartitionKind : uint8_t {
  kContiguous,  // rank r holds the r-th of P pieces
  kZigzag,      // rank r holds pieces r and 2P-1-r of 2P: equal causal work (Zhu 2024)
  kStriped,     // rank r holds every P-th token from r on (Brandon et al. 2023)
};

// The name the option parallel.partition gives a kind.
std::string_view NameOf(PartitionKind kind);

// A sequence of `length` tokens over the ranks of a context group: `members` of a ring, each of
// them `ranks_per_member` ranks, rank = member * ranks_per_member + place, that cut its tokens in
// its order into equal parts. So a member's tokens are those of its ranks one after the other.
//
// Every rank holds local_tokens() tokens; where the parts do not divide the length, positions at or
// past `length` are padding that a mask of that length never lets attend or be attended to.
class Partition {
 public:
  // Requires length, members and ranks_per_member >= 1.
  Partition(PartitionKind kind, int64_t length, int members, int ranks_per_member = 1);

  PartitionKind kind() const { return kind_; }
  int64_t length() const { return length_; }
  int ranks() const { return members_ * ranks_per_member_; }

  int64_t local_tokens() const { return member_tokens_ / ranks_per_member_; }
  int64_t padding_tokens() const { return member_tokens_ * members_ - length_; }

  // Where the tokens of `rank` sit in the sequence: at most two runs.
  kernels::Positions PositionsOf(int rank) const;

  // The same tokens over the members of the ring alone, a rank each.
  Partition OfMembers() const;

 private:
  kernels::Positions PositionsOfMember(int member) const;

  PartitionKind kind_;
  int64_t length_;
  int members_;
  int ranks_per_member_;
  int64_t piece_tokens_;
  int64_t member_tokens_;
};

}  // namespace annulus::parallel
