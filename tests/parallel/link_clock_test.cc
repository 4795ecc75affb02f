// Overlap, waiting and queues of dry transfers, against times worked out by hand.
#include "parallel/link_clock.h"

#include <gtest/gtest.h>

#include <array>

#include "parallel/dry_communicator.h"

namespace annulus::parallel {
namespace {

using kernels::CallCost;
using kernels::ComputeRates;
using kernels::DryClock;
using kernels::DType;
using kernels::RateClass;

constexpr double kTiny = 1e-12;

// A second for each FLOP of a product, and for each byte of elementwise work a tenth of one.
ComputeRates Rates() {
  ComputeRates rates;
  rates.Add({.work = RateClass::kMatMul, .dtype = DType::kF32, .rate = {.s_per_flop = 1}});
  rates.Add({.work = RateClass::kElementwise, .dtype = DType::kF32, .rate = {.s_per_byte = 0.1}});
  return rates;
}

// Within a node 2 s a message and 1 s a byte, between nodes 5 s and 3 s.
constexpr NetworkRates kNetwork = {.within_node = {.latency_s = 2, .s_per_byte = 1},
                                   .between_nodes = {.latency_s = 5, .s_per_byte = 3},
                                   .ranks_per_node = 2};

class DryRank {
 public:
  DryRank(int rank, int size, const NetworkRates& network)
      : network_(network), links_(clock_, &network_, rank), world_(size, links_) {}

  void Compute(double seconds) {
    clock_.Compute(
        {.work = RateClass::kMatMul, .dtype = DType::kF32, .flops = static_cast<int64_t>(seconds)});
  }
  // `bytes` to `to` and as many from `from`.
  Transfer Exchange(int to, int from, int64_t bytes) {
    const View view(nullptr, DType::kByte, {bytes});
    return world_.Start({.send = view, .to = to, .receive = view, .from = from});
  }

  DryClock& clock() { return clock_; }
  DryCommunicator& world() { return world_; }

 private:
  ComputeRates rates_ = Rates();
  DryClock clock_{&rates_};
  NetworkRates network_;
  LinkClock links_;
  DryCommunicator world_;
};

TEST(LinkClock, ATransferBehindLongerWorkIsHidden) {
  DryRank rank(0, 2, kNetwork);
  Transfer transfer = rank.Exchange(1, 1, 10);  // 12 s
  rank.Compute(20);
  transfer.Wait();
  EXPECT_NEAR(rank.clock().now_s(), 20, kTiny);
  EXPECT_EQ(rank.clock().times().exposed_s, 0);
}

TEST(LinkClock, WhatIsNotHiddenIsExposed) {
  DryRank rank(0, 2, kNetwork);
  Transfer transfer = rank.Exchange(1, 1, 10);
  rank.Compute(5);
  transfer.Wait();
  EXPECT_NEAR(rank.clock().now_s(), 12, kTiny);
  EXPECT_NEAR(rank.clock().times().exposed_s, 7, kTiny);
  transfer.Wait();  // once is enough
  EXPECT_NEAR(rank.clock().now_s(), 12, kTiny);
}

TEST(LinkClock, ALinkCarriesOneTransferAfterTheOther) {
  DryRank rank(0, 2, kNetwork);
  Transfer first = rank.Exchange(1, 1, 10);  // done at 12
  rank.Compute(4);
  Transfer second = rank.Exchange(1, 1, 6);  // from 12 to 20
  second.Wait();
  EXPECT_NEAR(rank.clock().now_s(), 20, kTiny);
  first.Wait();
  EXPECT_NEAR(rank.clock().now_s(), 20, kTiny);
  rank.Compute(10);
  Transfer third = rank.Exchange(1, 1, 1);  // the link is free: from 30 to 33
  third.Wait();
  EXPECT_NEAR(rank.clock().now_s(), 33, kTiny);
}

TEST(LinkClock, DirectionsAndLinksWorkSideBySide) {
  DryRank rank(1, 4, kNetwork);
  const View view(nullptr, DType::kByte, {10});
  Transfer out = rank.world().Start({.send = view, .to = 0});
  Transfer in = rank.world().Start({.receive = view, .from = 0});
  out.Wait();
  in.Wait();
  EXPECT_NEAR(rank.clock().now_s(), 12, kTiny);
  Transfer near = rank.Exchange(0, 0, 10);  // from 12 to 24
  Transfer far = rank.Exchange(2, 2, 10);   // from 12 to 47
  near.Wait();
  EXPECT_NEAR(rank.clock().now_s(), 24, kTiny);
  far.Wait();
  EXPECT_NEAR(rank.clock().now_s(), 47, kTiny);
}

// In a ring over two nodes one side of an exchange may cross and the other not: the slower counts.
TEST(LinkClock, AnExchangeEndsWithItsSlowerSide) {
  DryRank rank(1, 4, kNetwork);
  rank.Exchange(2, 0, 10).Wait();
  EXPECT_NEAR(rank.clock().now_s(), 35, kTiny);
}

TEST(LinkClock, AHostThatCopiesHasLessTimeForKernels) {
  NetworkRates network = kNetwork;
  network.within_node.host_share = 0.5;
  DryRank hidden(0, 2, network);
  Transfer transfer = hidden.Exchange(1, 1, 10);
  hidden.Compute(20);
  transfer.Wait();  // the copy, half of 10 s, stretched the kernel
  EXPECT_NEAR(hidden.clock().now_s(), 25, kTiny);
  EXPECT_NEAR(hidden.clock().times().copy_s, 5, kTiny);
  EXPECT_NEAR(hidden.clock().times().exposed_s, 0, kTiny);

  DryRank idle(0, 2, network);
  idle.Exchange(1, 1, 10).Wait();  // nothing to stretch
  EXPECT_NEAR(idle.clock().now_s(), 12, kTiny);
  EXPECT_NEAR(idle.clock().times().copy_s, 0, kTiny);
  EXPECT_NEAR(idle.clock().times().exposed_s, 12, kTiny);
}

TEST(LinkClock, ARankReachesItselfAtOnce) {
  DryRank rank(0, 2, kNetwork);
  rank.Exchange(0, 0, 1000).Wait();
  EXPECT_EQ(rank.clock().now_s(), 0);
}

// 8 floats over 4 ranks, shares of 2: to each peer its share and the own sum, 16 bytes in two
// messages. Within the node 2*2 + 16 = 20 s, to the two ranks elsewhere 4*5 + 32*3 = 116 s; then
// the own share is summed: 4 parts of 8 bytes.
TEST(DryCommunicator, AnAllReduceTakesItsMessagesItsBytesAndItsSum) {
  DryRank rank(0, 4, kNetwork);
  rank.world().AllReduceSum(View(nullptr, DType::kF32, {8})).Wait();
  EXPECT_NEAR(rank.clock().now_s(), 116 + 0.1 * 4 * 8, kTiny);
  EXPECT_NEAR(rank.clock().times().exposed_s, rank.clock().now_s(), kTiny);
  EXPECT_EQ(rank.world().counters().bytes_sent, 3 * 16);
}

TEST(DryCommunicator, SumsHaveARateOfTheirOwn) {
  NetworkRates network{.within_node = kNetwork.within_node, .reduce_s_per_byte = 3};
  DryRank rank(0, 2, network);
  rank.world().AllReduceSum(View(nullptr, DType::kF32, {8})).Wait();
  EXPECT_NEAR(rank.clock().now_s(), 2 * 2 + 32 + 3 * 2 * 16, kTiny);
}

TEST(DryCommunicator, GathersAndExchangesGoToEveryPeer) {
  const View two(nullptr, DType::kByte, {2}), eight(nullptr, DType::kByte, {8});
  DryRank gather(0, 4, kNetwork), exchange(0, 4, kNetwork);
  gather.world().AllGather(two, eight).Wait();
  EXPECT_NEAR(gather.clock().now_s(), 2 * 5 + 4 * 3, kTiny);
  exchange.world().AllToAll(eight, eight).Wait();
  EXPECT_NEAR(exchange.clock().now_s(), 2 * 5 + 4 * 3, kTiny);
}

TEST(DryCommunicator, ABroadcastLastsAsLongAsItsRootSends) {
  const View four(nullptr, DType::kByte, {4});
  const NetworkRates one_node{.within_node = kNetwork.within_node};
  for (const int rank : {0, 1, 2}) {
    DryRank one(rank, 3, one_node);
    one.world().Broadcast(four, 1).Wait();
    EXPECT_NEAR(one.clock().now_s(), 2 * 2 + 8, kTiny) << rank;
  }
}

TEST(DryCommunicator, HostsThatAgreeStand) {
  const NetworkRates one_node{.within_node = {.latency_s = 2}};
  DryRank rank(0, 4, one_node);
  rank.world().Barrier();
  EXPECT_NEAR(rank.clock().now_s(), 3 * 2, kTiny);
  std::array<double, 1> value{1};
  rank.world().AllReduceSum(value);
  EXPECT_NEAR(rank.clock().now_s(), 3 * 2 + 3 * 4, kTiny);
}

// The ranks of a group keep their places in the world, and its transfers the rank's links.
TEST(DryCommunicator, SubgroupsShareTheLinksOfTheirRank) {
  DryRank rank(1, 4, kNetwork);
  const auto group = rank.world().Subgroup({1, 3});
  const View view(nullptr, DType::kByte, {10});
  Transfer far = group->Start({.send = view, .to = 1, .receive = view, .from = 1});  // 35 s
  rank.Exchange(2, 2, 1).Wait();  // behind it: 8 s more
  EXPECT_NEAR(rank.clock().now_s(), 43, kTiny);
  far.Wait();
  EXPECT_NEAR(rank.clock().now_s(), 43, kTiny);
}

TEST(DryCommunicator, WithoutANetworkNothingTakesTime) {
  DryClock clock;
  LinkClock links(clock, nullptr, 0);
  DryCommunicator world(1000, links);
  world.AllReduceSum(View(nullptr, DType::kF32, {1 << 20})).Wait();
  world.Barrier();
  EXPECT_EQ(clock.now_s(), 0);
}

}  // namespace
}  // namespace annulus::parallel
