#include "parallel/partition.h"

#include <numeric>

#include "kernels/base/error.h"

namespace annulus::parallel {
namespace {

int PiecesPerRank(PartitionKind kind) { return kind == PartitionKind::kZigzag ? 2 : 1; }

int64_t RoundUp(int64_t number, int64_t to) { return (number + to - 1) / to * to; }

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

Partition::Partition(PartitionKind kind, int64_t length, int members, int ranks_per_member)
    : kind_(kind), length_(length), members_(members), ranks_per_member_(ranks_per_member) {
  Check(length >= 1 && members >= 1 && ranks_per_member >= 1,
        "a partition of {} tokens over {} x {} ranks", length, members, ranks_per_member);
  const int pieces_per_member = PiecesPerRank(kind);
  const int64_t pieces = int64_t{members} * pieces_per_member;
  // Whole tokens for every rank of a member: a multiple of this many in each of its pieces.
  const int64_t unit = ranks_per_member / std::gcd(ranks_per_member, pieces_per_member);
  piece_tokens_ = RoundUp(RoundUp(length, pieces) / pieces, unit);
  member_tokens_ = piece_tokens_ * pieces_per_member;
}

kernels::Positions Partition::PositionsOf(int rank) const {
  Check(rank >= 0 && rank < ranks(), "rank {} of {}", rank, ranks());
  return PositionsOfMember(rank / ranks_per_member_)
      .Slice(rank % ranks_per_member_ * local_tokens(), local_tokens());
}

Partition Partition::OfMembers() const {
  Partition members = *this;
  members.ranks_per_member_ = 1;
  return members;
}

kernels::Positions Partition::PositionsOfMember(int member) const {
  kernels::Positions positions;
  switch (kind_) {
    case PartitionKind::kContiguous:
      positions.Append({member * piece_tokens_, 1, piece_tokens_});
      break;
    case PartitionKind::kZigzag:
      positions.Append({member * piece_tokens_, 1, piece_tokens_});
      positions.Append({(2 * members_ - 1 - member) * piece_tokens_, 1, piece_tokens_});
      break;
    case PartitionKind::kStriped:
      positions.Append({member, members_, piece_tokens_});
      break;
  }
  return positions;
}

}  // namespace annulus::parallel
