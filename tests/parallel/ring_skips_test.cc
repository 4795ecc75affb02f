// The steps of a ring that a mask spares a rank: run dry, as a plan is.
#include <gtest/gtest.h>

#include <span>
#include <vector>

#include "kernels/cpu/cpu_table.h"
#include "kernels/dry/dry_table.h"
#include "parallel/dry_communicator.h"
#include "parallel/ring_attention.h"
#include "runtime/memory/arena.h"

namespace annulus::parallel {
namespace {

using kernels::DType;

constexpr int64_t kBatch = 2;

// Folds of each rank, forward and backward together.
std::vector<int64_t> FoldsOf(int ranks, int64_t length, std::span<const kernels::Mask> masks) {
  std::vector<int64_t> folds(static_cast<size_t>(ranks));
  for (int rank = 0; rank < ranks; ++rank) {
    const kernels::CpuTable modelled(1);
    kernels::DryTable table(modelled);
    runtime::Arena arena = runtime::Arena::Dry();
    kernels::Kernels kernels(table, arena);
    DryCommunicator context(rank, ranks);
    const Partition partition(PartitionKind::kContiguous, length, ranks);
    const AttentionShape shape{.batch = kBatch, .head_dim = 8};
    const int64_t tokens = partition.local_tokens();
    const View q(nullptr, DType::kF32, {kBatch, tokens, 1, 8});
    const View kv(nullptr, DType::kF32, {2, kBatch, tokens, 8});
    const View lse(nullptr, DType::kF32, {kBatch, 1, tokens});
    RingAttention ring(kernels, arena, context, partition, masks);
    ring.Forward(shape, q, kv, q, lse);
    ring.Backward(shape, {.q = q, .kv = kv, .out = q, .dout = q, .lse = lse}, q, kv);
    folds[static_cast<size_t>(rank)] = kernels.counters()[kernels::KernelClass::kAttention].calls;
  }
  return folds;
}

TEST(RingAttentionSkips, StepsWithoutACommonDocumentSequenceBySequence) {
  const std::vector<int64_t> by_rank = {0, 16, 32, 48}, two = {0, 32}, one = {0};
  std::vector<kernels::Mask> masks(
      kBatch, {.kind = kernels::MaskKind::kDocuments, .length = 64, .document_starts = by_rank});
  EXPECT_EQ(FoldsOf(4, 64, masks), (std::vector<int64_t>{4, 4, 4, 4}));
  masks[1].document_starts = two;
  EXPECT_EQ(FoldsOf(4, 64, masks), (std::vector<int64_t>{4, 6, 4, 6}));
  masks[1].document_starts = one;
  EXPECT_EQ(FoldsOf(4, 64, masks), (std::vector<int64_t>{4, 6, 8, 10}));
}

TEST(RingAttentionSkips, MasksAreOneOrAsManyAsSequences) {
  const std::vector<kernels::Mask> three(3, {.length = 64});
  EXPECT_THROW(FoldsOf(2, 64, three), InternalError);
  EXPECT_THROW(FoldsOf(2, 64, {}), InternalError);
}

}  // namespace
}  // namespace annulus::parallel
