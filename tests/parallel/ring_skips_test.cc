// The steps and the traffic of a ring that a mask spares a rank: run dry, as a plan is.
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

// Of each rank, forward and backward together.
struct Work {
  std::vector<int64_t> folds;
  std::vector<int64_t> bytes_sent;
};

// A rank of a contiguous partition, with tensors of no memory.
struct DryRank {
  DryRank(int rank, int ranks, int64_t length, std::span<const kernels::Mask> masks)
      : context(rank, ranks),
        partition(PartitionKind::kContiguous, length, ranks),
        ring(kernels, arena, context, partition, masks),
        q(nullptr, DType::kF32, {kBatch, partition.local_tokens(), 1, 8}),
        kv(nullptr, DType::kF32, {2, kBatch, partition.local_tokens(), 8}),
        lse(nullptr, DType::kF32, {kBatch, 1, partition.local_tokens()}) {}

  void Forward() { ring.Forward(shape, q, kv, q, lse); }
  void Backward() {
    ring.Backward(shape, {.q = q, .kv = kv, .out = q, .dout = q, .lse = lse}, q, kv);
  }

  kernels::CpuTable modelled{1};
  kernels::DryTable table{modelled};
  runtime::Arena arena = runtime::Arena::Dry();
  kernels::Kernels kernels{table, arena};
  DryCommunicator context;
  Partition partition;
  AttentionShape shape{.batch = kBatch, .head_dim = 8};
  RingAttention ring;
  View q, kv, lse;
};

Work WorkOf(int ranks, int64_t length, std::span<const kernels::Mask> masks) {
  Work work;
  for (int rank = 0; rank < ranks; ++rank) {
    DryRank dry(rank, ranks, length, masks);
    dry.Forward();
    dry.Backward();
    work.folds.push_back(dry.kernels.counters()[kernels::KernelClass::kAttention].calls);
    work.bytes_sent.push_back(dry.context.counters().bytes_sent);
  }
  return work;
}

std::vector<int64_t> FoldsOf(int ranks, int64_t length, std::span<const kernels::Mask> masks) {
  return WorkOf(ranks, length, masks).folds;
}

TEST(RingAttentionSkips, StepsWithoutACommonDocumentSequenceBySequence) {
  const std::vector<int64_t> by_rank = {0, 16, 32, 48}, two = {0, 32}, one = {0};
  std::vector<kernels::Mask> masks(
      kBatch, {.kind = kernels::MaskKind::kDocuments, .length = 64, .document_starts = by_rank});
  // The first rank, to which a gradient comes home last, folds in its own keys in two parts: once
  // more in backward for each sequence.
  EXPECT_EQ(FoldsOf(4, 64, masks), (std::vector<int64_t>{4 + 2, 4, 4, 4}));
  masks[1].document_starts = two;
  EXPECT_EQ(FoldsOf(4, 64, masks), (std::vector<int64_t>{4 + 2, 6, 4, 6}));
  masks[1].document_starts = one;
  EXPECT_EQ(FoldsOf(4, 64, masks), (std::vector<int64_t>{4 + 2, 6, 8, 10}));
}

// In blocks of keys and values, a gradient being one too; 16 tokens of one head of 8 to a rank.
std::vector<int64_t> BlocksSent(int ranks, const kernels::Mask& mask) {
  constexpr int64_t kBlockBytes = 2 * kBatch * 16 * 8 * 4;
  std::vector<int64_t> blocks;
  for (int64_t bytes : WorkOf(ranks, 16 * ranks, {&mask, 1}).bytes_sent) {
    EXPECT_EQ(bytes % kBlockBytes, 0);
    blocks.push_back(bytes / kBlockBytes);
  }
  return blocks;
}

TEST(RingAttentionSkips, KeysThatNoRankFurtherOnWants) {
  using kernels::MaskKind;
  // A block travels in forward and in backward, and its gradient from its first reader on: one hop
  // behind, and then home.
  EXPECT_EQ(BlocksSent(4, {.kind = MaskKind::kFull, .length = 64}),
            (std::vector<int64_t>{3 * 3, 3 * 3, 3 * 3, 3 * 3}));
  EXPECT_EQ(BlocksSent(4, {.kind = MaskKind::kCausal, .length = 64}),
            (std::vector<int64_t>{2 * 1, 2 * 2 + 1, 2 * 3 + 2, 3}));
  EXPECT_EQ(BlocksSent(4, {.kind = MaskKind::kWindow, .length = 64, .window = 8}),
            (std::vector<int64_t>{2, 2 + 1, 2 + 1, 1}));
  EXPECT_EQ(BlocksSent(4, {.kind = MaskKind::kWindow, .length = 64, .window = 1}),
            (std::vector<int64_t>{0, 0, 0, 0}));
  // What a plan without the data cannot know moves as if it were not there.
  const std::vector<int64_t> starts = {0, 16, 48};
  EXPECT_EQ(BlocksSent(4, {.kind = MaskKind::kDocuments, .length = 64, .document_starts = starts}),
            (std::vector<int64_t>{2, 5, 8, 3}));
}

// Passes over rows that a rank's forward takes beside its folds: one that begins each problem, and
// one that finishes it where no fold does.
std::vector<int64_t> RowPassesOf(int ranks, int64_t length, std::span<const kernels::Mask> masks) {
  std::vector<int64_t> passes;
  for (int rank = 0; rank < ranks; ++rank) {
    DryRank dry(rank, ranks, length, masks);
    dry.Forward();
    passes.push_back(dry.kernels.counters()[kernels::KernelClass::kElementwise].calls);
  }
  return passes;
}

TEST(RingAttentionSkips, TheFinishWhereALastFoldDoesIt) {
  using kernels::MaskKind;
  for (const int ranks : {1, 2, 3, 4, 7, 8}) {
    SCOPED_TRACE(ranks);
    const int64_t length = 16 * ranks;
    const std::vector<int64_t> once(static_cast<size_t>(ranks), 1);
    for (const MaskKind kind : {MaskKind::kFull, MaskKind::kCausal, MaskKind::kWindow}) {
      const kernels::Mask mask{.kind = kind, .length = length, .window = 20};
      EXPECT_EQ(RowPassesOf(ranks, length, {&mask, 1}), once);
    }
    // A problem to each sequence, whose last steps differ.
    const std::vector<int64_t> two = {0, length / 2}, one = {0};
    std::vector<kernels::Mask> masks(kBatch, {.kind = MaskKind::kDocuments, .length = length});
    masks[0].document_starts = two;
    masks[1].document_starts = one;
    EXPECT_EQ(RowPassesOf(ranks, length, masks),
              std::vector<int64_t>(static_cast<size_t>(ranks), kBatch));
  }
  // The last two ranks have padding alone.
  const kernels::Mask mask{.kind = MaskKind::kFull, .length = 5};
  EXPECT_EQ(RowPassesOf(4, 5, {&mask, 1}), (std::vector<int64_t>{1, 1, 1, 2}));
}

TEST(RingAttentionSkips, MasksAreOneOrAsManyAsSequences) {
  const std::vector<kernels::Mask> three(3, {.length = 64});
  EXPECT_THROW(FoldsOf(2, 64, three), InternalError);
  EXPECT_THROW(FoldsOf(2, 64, {}), InternalError);
}

}  // namespace
}  // namespace annulus::parallel
