#include "runtime/config/strategy.h"

#include <gtest/gtest.h>

#include "tests/runtime/message_of.h"

namespace annulus::runtime {
namespace {

ParallelOptions On(int ranks, ContextStrategy strategy, int ulysses_size = 0, int node_size = 0) {
  ParallelOptions parallel;
  parallel.context_size = ranks;
  parallel.strategy = strategy;
  parallel.ulysses_size = ulysses_size;
  parallel.node_size = node_size;
  return parallel;
}

std::string ErrorOf(ParallelOptions parallel, int64_t heads) {
  return MessageOf([&] { ResolveStrategy(parallel, heads); });
}

TEST(Strategy, ResolvesTheOneSizeThatThereIs) {
  for (const StrategyTraits& traits : Strategies()) {
    ParallelOptions parallel = On(8, traits.strategy);
    ResolveStrategy(parallel, 8);
    const int expected = traits.heads == HeadGroups::kNone  ? 1
                         : traits.heads == HeadGroups::kAll ? 8
                                                            : 0;
    EXPECT_EQ(parallel.ulysses_size, expected) << traits.name;
    const ParallelOptions once = parallel;
    ResolveStrategy(parallel, 8);
    EXPECT_EQ(parallel, once) << traits.name;
  }
}

TEST(Strategy, HybridSizesDivideTheGroupAndLeaveEveryRankAHead) {
  EXPECT_EQ(ErrorOf(On(8, ContextStrategy::kHybrid, 3), 4),
            "parallel.ulysses_size = 3 does not divide the 8 ranks of a context group; choose 1, 2 "
            "or 4 (8 would leave ranks without a head, for model.num_attention_heads = 4)");
  EXPECT_EQ(ErrorOf(On(8, ContextStrategy::kHybrid, 3), 9),
            "parallel.ulysses_size = 3 does not divide the 8 ranks of a context group; choose 1, "
            "2, 4 or 8");
  EXPECT_EQ(ErrorOf(On(8, ContextStrategy::kHybrid, 8), 5),
            "parallel.ulysses_size = 8 spreads model.num_attention_heads = 5 over more ranks than "
            "there are heads; choose 1, 2 or 4");
  ParallelOptions parallel = On(8, ContextStrategy::kHybrid, 4);
  EXPECT_NO_THROW(ResolveStrategy(parallel, 5));
}

TEST(Strategy, UlyssesNeedsAHeadForEveryRank) {
  EXPECT_EQ(ErrorOf(On(6, ContextStrategy::kUlysses), 4),
            "parallel.strategy = ulysses spreads model.num_attention_heads = 4 over the 6 ranks of "
            "a context group: some would have none; choose parallel.strategy = hybrid with "
            "ulysses_size 1, 2 or 3, or parallel.context_size of at most 4");
}

TEST(Strategy, SizesGoWithTheStrategiesThatHaveThem) {
  EXPECT_EQ(ErrorOf(On(8, ContextStrategy::kRing, 2), 8),
            "parallel.ulysses_size = 2 does not go with parallel.strategy = ring, which spreads no "
            "heads; leave ulysses_size out or choose parallel.strategy = hybrid");
  EXPECT_EQ(ErrorOf(On(8, ContextStrategy::kUlysses, 2), 8),
            "parallel.ulysses_size = 2 does not go with parallel.strategy = ulysses, which spreads "
            "heads over all 8 ranks of a context group; leave ulysses_size out or choose "
            "parallel.strategy = hybrid");
  EXPECT_EQ(ErrorOf(On(8, ContextStrategy::kAuto, 2), 8),
            "parallel.ulysses_size = 2 does not go with parallel.strategy = auto, which chooses "
            "it; leave ulysses_size out or choose parallel.strategy = hybrid");
  ParallelOptions nodes = On(8, ContextStrategy::kRing, 0, 2);
  EXPECT_NO_THROW(ResolveStrategy(nodes, 8));
  nodes.shared_memory = SharedMemory::kOff;
  EXPECT_EQ(ErrorOf(nodes, 8),
            "parallel.node_size = 2 does not go with parallel.strategy = ring and "
            "parallel.shared_memory = off, which make no difference between nodes; leave node_size "
            "out or choose parallel.strategy = double-ring");
  EXPECT_EQ(ErrorOf(On(8, ContextStrategy::kDoubleRing, 0, 3), 8),
            "parallel.node_size = 3 does not divide the 8 ranks of a context group; choose 1, 2, 4 "
            "or 8");
}

TEST(Strategy, BlocksInFlightAreAnAllGathers) {
  ParallelOptions parallel = On(8, ContextStrategy::kRing);
  parallel.blocks_in_flight = 1;
  EXPECT_EQ(ErrorOf(parallel, 8),
            "parallel.blocks_in_flight = 1 does not go with parallel.strategy = ring, which has "
            "two under way; leave blocks_in_flight out or choose parallel.strategy = all-gather");
  parallel.strategy = ContextStrategy::kAllGather;
  EXPECT_EQ(ErrorOf(parallel, 8),
            "parallel.blocks_in_flight = 1 leaves no room for a block to arrive while another is "
            "read; choose 2 or more, or 0 for all at once");
  parallel.blocks_in_flight = 3;
  ResolveStrategy(parallel, 8);
  EXPECT_EQ(ScheduleOf(parallel).blocks_in_flight, 3);
}

TEST(Strategy, NodesAreTakenFromWhereRanksAre) {
  const auto size_of = [](int context_size, const std::vector<std::string>& hosts) {
    ParallelOptions parallel = On(context_size, ContextStrategy::kDoubleRing);
    ResolveNodes(parallel, hosts);
    return parallel.node_size;
  };
  EXPECT_EQ(size_of(4, {"a", "a", "b", "b"}), 2);
  EXPECT_EQ(size_of(2, {"a", "a", "b", "b"}), 2);
  EXPECT_EQ(size_of(3, {"a", "a", "a"}), 3);
  EXPECT_EQ(size_of(2, {"a", "b", "c", "d"}), 1);
  EXPECT_EQ(MessageOf([&] {
              size_of(4, {"a", "a", "a", "b"});
            }),
            "parallel.strategy = double-ring needs equally many ranks of a context group on each "
            "of its nodes, but there are 3 on a, 1 on b; start them so, or set parallel.node_size "
            "to 1, 2 or 4");
  EXPECT_THROW(size_of(2, {"a", "a", "b", "c"}), ConfigError);
  ParallelOptions said = On(4, ContextStrategy::kDoubleRing, 1, 4);
  ResolveNodes(said, std::vector<std::string>{"a", "a", "b", "b"});
  EXPECT_EQ(said.node_size, 4);
}

std::vector<std::string> CandidatesOf(ParallelOptions parallel, int64_t heads) {
  ResolveStrategy(parallel, heads);
  std::vector<std::string> names;
  for (const ParallelOptions& candidate : StrategyCandidates(parallel, heads)) {
    names.push_back(DescribeStrategy(candidate));
  }
  return names;
}

TEST(Strategy, CandidatesAreWhatIsLeftOpen) {
  using Names = std::vector<std::string>;
  EXPECT_EQ(CandidatesOf(On(8, ContextStrategy::kRing), 4), (Names{"ring: keys round 8 ranks"}));
  EXPECT_EQ(CandidatesOf(On(8, ContextStrategy::kAllGather), 4),
            (Names{"all-gather: keys straight to 8 ranks"}));
  EXPECT_EQ(CandidatesOf(On(8, ContextStrategy::kDoubleRing, 0, 2), 4),
            (Names{"double-ring: keys round 2 ranks on each of 4 nodes"}));
  EXPECT_EQ(CandidatesOf(On(8, ContextStrategy::kAuto), 4),
            (Names{"ring: keys round 8 ranks", "hybrid: heads over 2 ranks, keys round 4 ranks",
                   "hybrid: heads over 4 ranks, keys round 2 ranks"}));
  EXPECT_EQ(CandidatesOf(On(4, ContextStrategy::kAuto), 4),
            (Names{"ring: keys round 4 ranks", "hybrid: heads over 2 ranks, keys round 2 ranks",
                   "ulysses: heads over 4 ranks"}));
  EXPECT_EQ(CandidatesOf(On(1, ContextStrategy::kAuto), 4), (Names{"ring: keys round 1 rank"}));
  EXPECT_EQ(CandidatesOf(On(4, ContextStrategy::kHybrid), 4),
            (Names{"hybrid: heads over 2 ranks, keys round 2 ranks"}));
  // There is no size between.
  EXPECT_EQ(CandidatesOf(On(3, ContextStrategy::kHybrid), 4),
            (Names{"hybrid: keys round 3 ranks", "hybrid: heads over 3 ranks"}));
  EXPECT_EQ(CandidatesOf(On(8, ContextStrategy::kHybrid, 4), 4),
            (Names{"hybrid: heads over 4 ranks, keys round 2 ranks"}));
}

}  // namespace
}  // namespace annulus::runtime
