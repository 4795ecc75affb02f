// Heads there and back: every element arrives where it belongs, and home the sum of what was held.
#include "parallel/head_exchange.h"

#include <gtest/gtest.h>

#include <array>

#include "kernels/base/bfloat16.h"
#include "kernels/cpu/cpu_table.h"
#include "parallel/local_communicator.h"
#include "runtime/memory/arena.h"

namespace annulus::parallel {
namespace {

using kernels::DType;
using kernels::MemoryCategory;

constexpr int64_t kSequences = 3, kTokens = 5, kHeadDim = 6;

struct Heads {
  int ranks;
  int64_t heads;
  int64_t kv_heads;
};
// Even; shared key/value heads; fewer of them than ranks; uneven; uneven groups, with heads held
// twice by one rank; one rank.
constexpr Heads kHeads[] = {{2, 4, 4},  {2, 8, 2},  {4, 8, 2}, {3, 7, 7},
                            {2, 12, 3}, {5, 12, 4}, {3, 8, 1}, {1, 6, 2}};

// An element of its own for each token of the group, head and feature, exact in bf16 as well.
float Value(int64_t n, int64_t token, int64_t head, int64_t d) {
  return static_cast<float>((n * 31 + token * 7 + head * 11 + d) % 251);
}

void Put(const View& view, int64_t i, float value) {
  if (view.dtype == DType::kF32) {
    view.As<float>()[i] = value;
  } else {
    view.As<kernels::BFloat16>()[i] = kernels::ToBFloat16(value);
  }
}
float Get(const View& view, int64_t i) {
  return view.dtype == DType::kF32 ? view.As<float>()[i] : ToFloat(view.As<kernels::BFloat16>()[i]);
}

// Calls body(element, n, token, head's place, d) for every element of [N,T,heads,D].
template <class Body>
void ForEachElement(const View& view, const Body& body) {
  int64_t i = 0;
  for (int64_t n = 0; n < view.dim(0); ++n) {
    for (int64_t t = 0; t < view.dim(1); ++t) {
      for (int64_t h = 0; h < view.dim(2); ++h) {
        for (int64_t d = 0; d < view.dim(3); ++d) body(i++, n, t, h, d);
      }
    }
  }
}

std::vector<int64_t> HeadsOf(const HeadMap& map, int rank) {
  std::vector<int64_t> heads;
  for (const HeadRun& run : map.runs(rank)) {
    for (int64_t i = 0; i < run.count; ++i) heads.push_back(run.begin + i);
  }
  return heads;
}

// How often `head` is held, over all ranks.
int64_t TimesHeld(const HeadMap& map, int64_t head) {
  int64_t times = 0;
  for (int rank = 0; rank < map.ranks(); ++rank) {
    for (const int64_t held : HeadsOf(map, rank)) times += held == head;
  }
  return times;
}

class HeadExchangeTest : public testing::TestWithParam<DType> {};

// Two tensors at once, of queries and of keys, there and, of keys in f32, back.
TEST_P(HeadExchangeTest, ElementsArriveAndComeHome) {
  for (const Heads& c : kHeads) {
    SCOPED_TRACE(fmt::format("{} heads over {} on {} ranks", c.heads, c.kv_heads, c.ranks));
    const HeadLayout layout = LayOutHeads(c.heads, c.kv_heads, c.ranks);
    RunRanks(c.ranks, [&](Communicator& group) {
      runtime::Arena arena(1 << 22);
      kernels::CpuTable table(1);
      kernels::Kernels kernels(table, arena);
      HeadExchange exchange(kernels, arena, group);
      const auto tensor = [&](int64_t tokens, int64_t heads, DType dtype) {
        return arena.Allocate(dtype, {kSequences, tokens, heads, kHeadDim},
                              MemoryCategory::kActivations, "test");
      };
      for (const auto& [map, heads] :
           {std::pair(&layout.queries, c.heads), std::pair(&layout.keys, c.kv_heads)}) {
        const DType dtype = map == &layout.keys ? DType::kF32 : GetParam();
        const View home = tensor(kTokens, heads, dtype), back = tensor(kTokens, heads, dtype);
        const View away = tensor(c.ranks * kTokens, map->count(group.rank()), dtype);
        const int64_t first = group.rank() * kTokens;
        ForEachElement(home, [&](int64_t i, int64_t n, int64_t t, int64_t h, int64_t d) {
          Put(home, i, Value(n, first + t, h, d));
          Put(back, i, -1);
        });
        const auto top = arena.Top();
        exchange.Out(std::array{HeadsOut{map, home, away}});
        const std::vector<int64_t> held = HeadsOf(*map, group.rank());
        ForEachElement(away, [&](int64_t i, int64_t n, int64_t t, int64_t h, int64_t d) {
          ASSERT_EQ(Get(away, i), Value(n, t, held[static_cast<size_t>(h)], d));
        });
        exchange.Home(std::array{HeadsHome{map, away, back}});
        EXPECT_EQ(arena.Top(), top);
        ForEachElement(back, [&](int64_t i, int64_t n, int64_t t, int64_t h, int64_t d) {
          ASSERT_EQ(Get(back, i),
                    static_cast<float>(TimesHeld(*map, h)) * Value(n, first + t, h, d));
        });
      }
    });
  }
}

INSTANTIATE_TEST_SUITE_P(Elements, HeadExchangeTest, testing::Values(DType::kF32, DType::kBF16),
                         [](const auto& dtype) { return std::string(NameOf(dtype.param)); });

// The formulas of head_exchange.h.
TEST(HeadExchangeTraffic, IsThatOfTheHeadsThatMove) {
  for (const Heads& c : kHeads) {
    const HeadLayout layout = LayOutHeads(c.heads, c.kv_heads, c.ranks);
    RunRanks(c.ranks, [&](Communicator& group) {
      runtime::Arena arena(1 << 22);
      kernels::CpuTable table(1);
      kernels::Kernels kernels(table, arena);
      HeadExchange exchange(kernels, arena, group);
      const int64_t own = layout.keys.count(group.rank());
      const View home = arena.Allocate(DType::kF32, {kSequences, kTokens, c.kv_heads, kHeadDim},
                                       MemoryCategory::kActivations, "test");
      const View away = arena.Allocate(DType::kF32, {kSequences, c.ranks * kTokens, own, kHeadDim},
                                       MemoryCategory::kActivations, "test");
      int64_t others = 0;
      for (int rank = 0; rank < c.ranks; ++rank) others += layout.keys.count(rank);
      others -= own;
      constexpr int64_t kBytesOfAHead = kSequences * kTokens * kHeadDim * 4;
      const int64_t peak = arena.ledger().peak_bytes();
      exchange.Out(std::array{HeadsOut{&layout.keys, home, away}});
      EXPECT_EQ(group.counters().bytes_sent, others * kBytesOfAHead);
      EXPECT_EQ(group.counters().messages, kSequences * (c.ranks - 1));
      exchange.Home(std::array{HeadsHome{&layout.keys, away, home}});
      EXPECT_EQ(group.counters().bytes_sent, (others + (c.ranks - 1) * own) * kBytesOfAHead);
      // But for what rounds each piece up.
      EXPECT_GE(arena.ledger().peak_bytes(), peak + others * kBytesOfAHead);
      EXPECT_LT(arena.ledger().peak_bytes(), peak + others * kBytesOfAHead + 64 * c.ranks);
    });
  }
}

// More sequences than there are tags: the first ones have to arrive before a tag serves again.
TEST(HeadExchangeTags, RunOutAndServeAgain) {
  constexpr int64_t kMany = 2 * Exchange::kTags + 3;
  const HeadLayout layout = LayOutHeads(2, 2, 2);
  RunRanks(2, [&](Communicator& group) {
    runtime::Arena arena(1 << 22);
    kernels::CpuTable table(1);
    kernels::Kernels kernels(table, arena);
    HeadExchange exchange(kernels, arena, group);
    const View home =
        arena.Allocate(DType::kF32, {kMany, 1, 2, 1}, MemoryCategory::kActivations, "test");
    const View away =
        arena.Allocate(DType::kF32, {kMany, 2, 1, 1}, MemoryCategory::kActivations, "test");
    ForEachElement(home, [&](int64_t i, int64_t n, int64_t, int64_t h, int64_t) {
      Put(home, i, Value(n, group.rank(), h, 0));
    });
    exchange.Out(std::array{HeadsOut{&layout.queries, home, away}});
    ForEachElement(away, [&](int64_t i, int64_t n, int64_t t, int64_t, int64_t) {
      ASSERT_EQ(Get(away, i), Value(n, t, group.rank(), 0));
    });
  });
}

}  // namespace
}  // namespace annulus::parallel
