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

// A sequence of `length` tokens over `ranks` ranks. Every rank holds local_tokens() tokens; where
// the pieces do not divide the length, positions at or past `length` are padding that a mask of
// that length never lets attend or be attended to.
class Partition {
 public:
  // Requires length >= 1, ranks >= 1.
  Partition(PartitionKind kind, int64_t length, int ranks);

  PartitionKind kind() const { return kind_; }
  int64_t length() const { return length_; }
  int ranks() const { return ranks_; }

  int64_t local_tokens() const { return local_tokens_; }
  int64_t padding_tokens() const { return local_tokens_ * ranks_ - length_; }

  // Where the tokens of `rank` sit in the sequence.
  kernels::Positions PositionsOf(int rank) const;

 private:
  PartitionKind kind_;
  int64_t length_;
  int ranks_;
  int64_t piece_tokens_;
  int64_t local_tokens_;
};

}  // namespace annulus::parallel
