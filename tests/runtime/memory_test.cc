#include <gtest/gtest.h>

#include <cstring>
#include <numeric>

#include "runtime/memory/arena.h"

namespace annulus::runtime {
namespace {

using kernels::MemoryCategory;
using kernels::MemoryScope;

TEST(Arena, PeakIsTheSumOfItsShares) {
  Arena arena(1 << 20);
  arena.Push(1000, MemoryCategory::kParameters, "parameters");
  {
    MemoryScope scope(arena);
    arena.Push(5000, MemoryCategory::kActivations, "layer");
    arena.Push(1, MemoryCategory::kWorkspace, "kernel");
  }
  {
    MemoryScope scope(arena);
    arena.Push(3000, MemoryCategory::kActivations, "layer");
  }
  const Ledger& ledger = arena.ledger();
  EXPECT_EQ(ledger.bytes(), 1024);
  EXPECT_EQ(ledger.peak_bytes(), 1024 + 5056 + 64);
  EXPECT_EQ(ledger.peak_activation_bytes(), 5056 + 64);
  const CategoryBytes shares = ledger.peak_by_category();
  EXPECT_EQ(std::accumulate(shares.begin(), shares.end(), int64_t{0}), ledger.peak_bytes());
  EXPECT_EQ(shares[static_cast<size_t>(MemoryCategory::kWorkspace)], 64);
}

TEST(Arena, DryRunAccountsLikeTheRealOne) {
  Arena dry = Arena::Dry();
  Arena real(1 << 16);
  for (Arena* arena : {&dry, &real}) {
    for (int64_t bytes : {0, 1, 63, 64, 65, 4097}) {
      arena->Push(bytes, MemoryCategory::kActivations, "x");
    }
    const auto mark = arena->Top();
    arena->Push(9999, MemoryCategory::kRing, "y");
    arena->Release(mark);
  }
  EXPECT_EQ(dry.ledger().peak_bytes(), real.ledger().peak_bytes());
  EXPECT_EQ(dry.ledger().bytes(), real.ledger().bytes());
  EXPECT_TRUE(dry.dry());
}

TEST(Arena, MemoryIsAlignedZeroedAndReused) {
  Arena arena(1 << 16);
  for (int round = 0; round < 2; ++round) {
    MemoryScope scope(arena);
    auto* first = static_cast<char*>(arena.Push(100, MemoryCategory::kBatch, "a"));
    auto* second = static_cast<char*>(arena.Push(100, MemoryCategory::kBatch, "b"));
    EXPECT_EQ(reinterpret_cast<uintptr_t>(first) % kernels::StackMemory::kAlignment, 0u);
    EXPECT_EQ(second - first, 128);
    EXPECT_EQ(first[99], round == 0 ? 0 : 1);
    std::memset(first, 1, 100);
  }
}

TEST(Arena, RefusesMoreThanItReserved) {
  Arena arena(1024);
  arena.Push(1000, MemoryCategory::kBatch, "a");
  EXPECT_THROW(arena.Push(1, MemoryCategory::kBatch, "b"), InternalError);
  EXPECT_THROW(arena.Release(5), InternalError);
}

TEST(Arena, SaysWhenTheSystemHasNoMemory) { EXPECT_THROW(Arena(int64_t{1} << 60), SystemError); }

}  // namespace
}  // namespace annulus::runtime
