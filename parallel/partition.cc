#include "parallel/partition.h"

#include "kernels/base/error.h"

namespace annulus::parallel {
namespace {

int PiecesPerRank(PartitionKind kind) { return kind == PartitionKind::kZigzag ? 2 : 1; }

}  // namespace

std::string_view NameOf(PartitionKind kind) {
  switch (kind) {
    case PartitionKind::kContiguous:
      return "contiguous";
    case PartitionKind::kZigzag:
      return "zigzag";
    case PartitionKind::kStriped:
      return "striped";
  }
  return "?";
}

Partition::Partition(PartitionKind kind, int64_t length, int ranks)
    : kind_(kind), length_(length), ranks_(ranks) {
  Check(length >= 1 && ranks >= 1, "a partition of {} tokens over {} ranks", length, ranks);
  const int64_t pieces = int64_t{ranks} * PiecesPerRank(kind);
  piece_tokens_ = (length + pieces - 1) / pieces;
  local_tokens_ = piece_tokens_ * PiecesPerRank(kind);
}

kernels::Positions Partition::PositionsOf(int rank) const {
  Check(rank >= 0 && rank < ranks_, "rank {} of {}", rank, ranks_);
  kernels::Positions positions;
  switch (kind_) {
    case PartitionKind::kContiguous:
      positions.Append({rank * piece_tokens_, 1, piece_tokens_});
      break;
    case PartitionKind::kZigzag:
      positions.Append({rank * piece_tokens_, 1, piece_tokens_});
      positions.Append({(2 * ranks_ - 1 - rank) * piece_tokens_, 1, piece_tokens_});
      break;
    case PartitionKind::kStriped:
      positions.Append({rank, ranks_, piece_tokens_});
      break;
  }
  return positions;
}

}  // namespace annulus::parallel
