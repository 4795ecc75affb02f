#include "tests/parallel/communicator_suite.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "parallel/dry_communicator.h"
#include "tests/parallel/loan_cases.h"
#include "tests/parallel/suite_buffer.h"

namespace annulus::parallel {
namespace {

using kernels::DType;

constexpr std::array<int64_t, 5> kSizes{0, 1, 7, 1000, 100003};

// How many elements from `begin` on differ from `expected(0)`, `expected(1)`, ...
int64_t Wrong(Buffer& buffer, int64_t begin, int64_t count,
              const std::function<float(int64_t)>& expected) {
  int64_t wrong = 0;
  for (int64_t i = 0; i < count; ++i) wrong += buffer[begin + i] != expected(i) ? 1 : 0;
  return wrong;
}

void ExpectSaidBy(int rank, Buffer& buffer) {
  EXPECT_EQ(Wrong(buffer, 0, buffer.size(), [&](int64_t i) { return Said(rank, i); }), 0);
}

void RingShift(Communicator& world) {
  for (int64_t size : kSizes) {
    Buffer out = Buffer::SaidBy(world.rank(), size), in(size);
    Transfer transfer =
        world.Start({out.view(), Neighbour(world, 1), in.view(), Neighbour(world, -1), /*tag=*/3});
    world.Progress();
    transfer.Wait();
    ExpectSaidBy(Neighbour(world, -1), in);
    ExpectSaidBy(world.rank(), out);
  }
}

void OneSidedExchange(Communicator& world) {
  const int last = world.size() - 1;
  for (int64_t size : kSizes) {
    Buffer data = Buffer::SaidBy(world.rank(), size), in(size);
    Transfer send, receive;
    if (world.rank() == last) receive = world.Start({.receive = in.view(), .from = 0});
    if (world.rank() == 0) send = world.Start({.send = data.view(), .to = last});
    receive.Wait();
    send.Wait();
    if (world.rank() == last) ExpectSaidBy(0, in);
  }
}

// Every pair exchanges several messages at once, and ranks wait in different orders.
void OverlappingTags(Communicator& world) {
  constexpr int kTags = 4;
  for (int64_t size : {int64_t{1}, int64_t{1000}, int64_t{30011}}) {
    std::vector<Buffer> out, in;
    std::vector<Transfer> transfers;
    for (int k = 0; k < kTags * world.size(); ++k) {
      out.push_back(Buffer::SaidBy(world.rank() + 10 * k, size));
      in.emplace_back(size);
    }
    for (int k = 0; k < kTags * world.size(); ++k) {
      const auto i = static_cast<size_t>(k);
      transfers.push_back(world.Start({out[i].view(), Neighbour(world, k), in[i].view(),
                                       Neighbour(world, -k), Exchange::kTags - 1 - k}));
    }
    if (world.rank() % 2 == 1) std::reverse(transfers.begin(), transfers.end());
    for (Transfer& transfer : transfers) transfer.Wait();
    for (int k = 0; k < kTags * world.size(); ++k) {
      ExpectSaidBy(Neighbour(world, -k) + 10 * k, in[static_cast<size_t>(k)]);
    }
  }
}

// What only one of two ranks starts first, and messages of a pair that are told apart by tags
// alone.
void BatchesMoveTogether(Communicator& world) {
  constexpr int64_t kSize = 1000;
  constexpr int kMessages = 3;
  std::vector<Buffer> out, in;
  for (int k = 0; k < kMessages; ++k) {
    out.push_back(Buffer::SaidBy(world.rank() + 10 * k, kSize));
    in.emplace_back(kSize);
  }
  const int next = Neighbour(world, 1), previous = Neighbour(world, -1);
  for (int round = 0; round < 2; ++round) {
    std::vector<Transfer> transfers;
    Communicator::Batch batch(world);
    for (int k = 0; k < kMessages; ++k) {
      const auto i = static_cast<size_t>(world.rank() % 2 == 0 ? k : kMessages - 1 - k);
      const int tag = static_cast<int>(i);
      const Exchange send{.send = out[i].view(), .to = next, .tag = tag};
      const Exchange receive{.receive = in[i].view(), .from = previous, .tag = tag};
      transfers.push_back(world.Start(world.rank() == 0 ? receive : send));
      transfers.push_back(world.Start(world.rank() == 0 ? send : receive));
    }
    batch.Launch();
    for (Transfer& transfer : transfers) transfer.Wait();
  }
  for (int k = 0; k < kMessages; ++k) ExpectSaidBy(previous + 10 * k, in[static_cast<size_t>(k)]);
}

void OtherTypesTravel(Communicator& world) {
  for (DType dtype : {DType::kBF16, DType::kI32, DType::kByte}) {
    Buffer out(3), in(3);
    const auto said_by = [&](int rank) {
      return std::string(static_cast<size_t>(SizeOf(dtype)) * 3, static_cast<char>('a' + rank));
    };
    std::memcpy(&out[0], said_by(world.rank()).data(), said_by(0).size());
    world
        .Start({View(out.view().data, dtype, {3}), Neighbour(world, 1),
                View(in.view().data, dtype, {3}), Neighbour(world, -1)})
        .Wait();
    EXPECT_EQ(in.bytes().substr(0, said_by(0).size()), said_by(Neighbour(world, -1)));
  }
}

void AllGather(Communicator& world) {
  for (int64_t size : kSizes) {
    Buffer out = Buffer::SaidBy(world.rank(), size), in(size * world.size());
    world.AllGather(out.view(), in.view()).Wait();
    for (int rank = 0; rank < world.size(); ++rank) {
      EXPECT_EQ(Wrong(in, rank * size, size, [&](int64_t i) { return Said(rank, i); }), 0);
    }
  }
}

void AllGatherInPlace(Communicator& world) {
  constexpr int64_t kSize = 1000;
  Buffer all(kSize * world.size());
  const int64_t own = world.rank() * kSize;
  for (int64_t i = 0; i < kSize; ++i) all[own + i] = Said(world.rank(), i);
  world.AllGather(all.view().Slice(0, own, kSize), all.view()).Wait();
  for (int rank = 0; rank < world.size(); ++rank) {
    EXPECT_EQ(Wrong(all, rank * kSize, kSize, [&](int64_t i) { return Said(rank, i); }), 0);
  }
}

void AllToAll(Communicator& world) {
  for (int64_t size : kSizes) {
    Buffer out(size * world.size()), in(size * world.size());
    for (int64_t i = 0; i < out.size(); ++i) out[i] = Said(world.rank(), i);
    world.AllToAll(out.view(), in.view()).Wait();
    for (int rank = 0; rank < world.size(); ++rank) {
      const auto block = [&](int64_t i) { return Said(rank, world.rank() * size + i); };
      EXPECT_EQ(Wrong(in, rank * size, size, block), 0);
    }
  }
}

void AllReduceSumIsExact(Communicator& world) {
  // The last size takes several windows of the staging buffer on any number of ranks.
  for (int64_t size : {kSizes[0], kSizes[1], kSizes[2], kSizes[3], kSizes[4], int64_t{1200007}}) {
    Buffer data = Buffer::SaidBy(world.rank(), size);
    world.AllReduceSum(data.view()).Wait();
    const auto sum = [&](int64_t i) {
      float total = 0;
      for (int rank = 0; rank < world.size(); ++rank) total += Said(rank, i);
      return total;
    };
    EXPECT_EQ(Wrong(data, 0, size, sum), 0);
  }
}

// Where the order of a sum shows: the documented order, the same bits on all ranks and every time.
void AllReduceSumIsInRankOrder(Communicator& world) {
  constexpr int64_t kSize = 30011;
  const auto term = [](int rank, int64_t i) {
    return static_cast<float>(std::pow(-3.7, rank) / static_cast<double>(i + 3));
  };
  std::string first;
  for (int run = 0; run < 3; ++run) {
    Buffer data(kSize);
    for (int64_t i = 0; i < kSize; ++i) data[i] = term(world.rank(), i);
    world.AllReduceSum(data.view()).Wait();
    const auto sum = [&](int64_t i) {
      double total = 0;
      for (int rank = 0; rank < world.size(); ++rank) total += static_cast<double>(term(rank, i));
      return static_cast<float>(total);
    };
    EXPECT_EQ(Wrong(data, 0, kSize, sum), 0);
    if (run == 0) first = data.bytes();
    EXPECT_EQ(data.bytes(), first);
  }
  for (const std::string& theirs : world.AllGatherText(first)) EXPECT_EQ(theirs, first);
}

void BroadcastFromEveryRoot(Communicator& world) {
  for (int root = 0; root < world.size(); ++root) {
    for (int64_t size : kSizes) {
      Buffer data = Buffer::SaidBy(world.rank(), size);
      world.Broadcast(data.view(), root).Wait();
      ExpectSaidBy(root, data);
    }
  }
}

// Collectives of all kinds under way together, waited for in an order that differs between ranks.
void CollectivesOverlap(Communicator& world) {
  constexpr int64_t kSize = 300007;
  Buffer sum = Buffer::SaidBy(world.rank(), kSize), sum2 = Buffer::SaidBy(world.rank(), kSize);
  Buffer own = Buffer::SaidBy(world.rank(), 1000), all(1000 * world.size());
  Buffer out = Buffer::SaidBy(world.rank(), 7), in(7);
  std::vector<Transfer> transfers;
  transfers.push_back(world.AllReduceSum(sum.view()));
  transfers.push_back(world.AllGather(own.view(), all.view()));
  transfers.push_back(
      world.Start({out.view(), Neighbour(world, 1), in.view(), Neighbour(world, -1)}));
  transfers.push_back(world.AllReduceSum(sum2.view()));
  if (world.rank() % 2 == 1) std::reverse(transfers.begin(), transfers.end());
  for (Transfer& transfer : transfers) transfer.Wait();
  const int p = world.size();
  const auto total = [&](int64_t i) {
    return static_cast<float>(500 * p * (p + 1)) + static_cast<float>(p * (i % 997));
  };
  EXPECT_EQ(Wrong(sum, 0, kSize, total), 0);
  EXPECT_EQ(Wrong(sum2, 0, kSize, total), 0);
  ExpectSaidBy(Neighbour(world, -1), in);
  for (int rank = 0; rank < p; ++rank) {
    EXPECT_EQ(Wrong(all, rank * 1000, 1000, [&](int64_t i) { return Said(rank, i); }), 0);
  }
}

void HostReductions(Communicator& world) {
  const int p = world.size();
  std::vector<double> sums{1.0, static_cast<double>(world.rank()), -0.5};
  world.AllReduceSum(std::span<double>(sums));
  EXPECT_EQ(sums, (std::vector<double>{1.0 * p, p * (p - 1) / 2.0, -0.5 * p}));
  std::vector<double> most{static_cast<double>(world.rank()), -1.0 - world.rank()};
  world.AllReduceMax(most);
  EXPECT_EQ(most, (std::vector<double>{p - 1.0, -1.0}));
  world.AllReduceSum(std::span<double>{});
  std::vector<double> nan{world.rank() == 0 ? std::nan("") : 1.0};
  world.AllReduceMax(nan);
  EXPECT_TRUE(std::isnan(nan[0]));
}

void TextsAndBarriers(Communicator& world) {
  const auto text_of = [](int rank) {
    return rank % 3 == 1 ? std::string() : std::string(static_cast<size_t>(rank * 5000 + 2), '\0');
  };
  const std::vector<std::string> texts = world.AllGatherText(text_of(world.rank()));
  ASSERT_EQ(static_cast<int>(texts.size()), world.size());
  for (int rank = 0; rank < world.size(); ++rank) {
    EXPECT_EQ(texts[static_cast<size_t>(rank)], text_of(rank));
  }
  for (int root = 0; root < world.size(); ++root) {
    world.Barrier();
    EXPECT_EQ(world.BroadcastText("of " + std::to_string(world.rank()), root),
              "of " + std::to_string(root));
  }
}

void SplitGroupsAreApart(Communicator& world) {
  const std::unique_ptr<Communicator> half = world.Split(world.rank() % 2);
  EXPECT_EQ(half->rank(), world.rank() / 2);
  EXPECT_EQ(half->size(), (world.size() + 1 - world.rank() % 2) / 2);
  const std::unique_ptr<Communicator> alone = half->Split(-world.rank());
  EXPECT_EQ(alone->size(), 1);
  // The same tag in three groups at once.
  Buffer out = Buffer::SaidBy(world.rank(), 1000);
  Buffer in_world(1000), in_half(1000), in_alone(1000);
  Transfer a =
      world.Start({out.view(), Neighbour(world, 1), in_world.view(), Neighbour(world, -1)});
  Transfer b = half->Start({out.view(), Neighbour(*half, 1), in_half.view(), Neighbour(*half, -1)});
  Transfer c = alone->Start({out.view(), 0, in_alone.view(), 0});
  // Ranks wait in different orders across the groups too.
  if (world.rank() % 2 == 0) a.Wait();
  c.Wait();
  b.Wait();
  a.Wait();
  ExpectSaidBy(Neighbour(world, -1), in_world);
  ExpectSaidBy(2 * Neighbour(*half, -1) + world.rank() % 2, in_half);
  ExpectSaidBy(world.rank(), in_alone);
  std::vector<double> members{1.0};
  half->AllReduceSum(std::span<double>(members));
  EXPECT_EQ(members[0], half->size());
  EXPECT_EQ(alone->counters().bytes_sent, 0);
}

void TransferMoves(Communicator& world) {
  Buffer out = Buffer::SaidBy(world.rank(), 1000), first(1000), second(1000), third(1000);
  const auto start = [&](Buffer& in, int tag) {
    return world.Start({out.view(), Neighbour(world, 1), in.view(), Neighbour(world, -1), tag});
  };
  Transfer transfer = start(first, 0);
  Transfer moved(std::move(transfer));
  transfer.Wait();           // holds nothing
  moved = start(second, 1);  // completes the first
  ExpectSaidBy(Neighbour(world, -1), first);
  moved.Wait();
  moved.Wait();
  ExpectSaidBy(Neighbour(world, -1), second);
  { const Transfer scoped = start(third, 2); }  // completes at the end of its scope
  ExpectSaidBy(Neighbour(world, -1), third);
  moved = Transfer();
}

// One of each operation. `null`: views without memory, for a dry run.
void OneOfEach(Communicator& world, int64_t size, bool null) {
  Buffer a(null ? 0 : size * world.size()), b(null ? 0 : size * world.size());
  const int64_t all = size * world.size();
  const View from(null ? nullptr : a.view().data, DType::kF32, {all});
  const View to(null ? nullptr : b.view().data, DType::kF32, {all});
  const int next = Neighbour(world, 1), previous = Neighbour(world, -1);
  world.Start({from, next, to, previous}).Wait();
  world.Start({from, world.rank(), to, world.rank()}).Wait();
  world.AllGather(from.Slice(0, 0, size), to).Wait();
  world.AllToAll(from, to).Wait();
  world.AllReduceSum(from.Slice(0, 0, size)).Wait();
  world.Broadcast(from, world.size() - 1).Wait();
  world.AllGatherText("uncounted");
  world.Barrier();
}

void CountersAreExactAndDry(Communicator& world) {
  const int p = world.size();
  const int64_t size = 13, bytes = 4 * size;
  const CommCounters before = world.counters();
  OneOfEach(world, size, false);
  DryCommunicator dry(world.rank(), p);
  OneOfEach(dry, size, true);
  const int64_t sent = world.counters().bytes_sent - before.bytes_sent;
  const int64_t messages = world.counters().messages - before.messages;
  EXPECT_EQ(dry.counters().bytes_sent, sent);
  EXPECT_EQ(dry.counters().messages, messages);
  EXPECT_GT(world.counters().wait_ms, before.wait_ms);
  const bool root = world.rank() == p - 1;
  const int64_t share = 4 * ShareOf(size, world.rank(), p).size();
  const int64_t exchange = p > 1 ? p * bytes : 0;
  const int64_t reduce = p > 1 ? bytes + (p - 2) * share : 0;
  const int64_t broadcast = root ? (p - 1) * p * bytes : 0;
  EXPECT_EQ(sent, exchange + 2 * (p - 1) * bytes + reduce + broadcast);
  EXPECT_EQ(messages, p > 1 ? 1 + 4 * (p - 1) + (root ? p - 1 : 0) : 0);
}

constexpr CommunicatorCase kCases[] = {
    {"RingShift", RingShift},
    {"OneSidedExchange", OneSidedExchange},
    {"OverlappingTags", OverlappingTags},
    {"BatchesMoveTogether", BatchesMoveTogether},
    {"OtherTypesTravel", OtherTypesTravel},
    {"AllGather", AllGather},
    {"AllGatherInPlace", AllGatherInPlace},
    {"AllToAll", AllToAll},
    {"AllReduceSumIsExact", AllReduceSumIsExact},
    {"AllReduceSumIsInRankOrder", AllReduceSumIsInRankOrder},
    {"BroadcastFromEveryRoot", BroadcastFromEveryRoot},
    {"CollectivesOverlap", CollectivesOverlap},
    {"HostReductions", HostReductions},
    {"TextsAndBarriers", TextsAndBarriers},
    {"SplitGroupsAreApart", SplitGroupsAreApart},
    {"TransferMoves", TransferMoves},
    {"CountersAreExactAndDry", CountersAreExactAndDry},
    {"LoansAreReadInPlace", LoansAreReadInPlace},
    {"SubgroupsShareMemoryToo", SubgroupsShareMemoryToo},
    {"MemoryIsSharedAsSaid", MemoryIsSharedAsSaid},
};

}  // namespace

TensorsIn::TensorsIn(TensorMemory& memory) { tensor_memory = &memory; }
TensorsIn::~TensorsIn() { tensor_memory = nullptr; }

std::span<const CommunicatorCase> CommunicatorCases() { return kCases; }

std::vector<CommunicatorCase> CommunicatorCasesOfDevices() {
  std::vector<CommunicatorCase> cases;
  for (const CommunicatorCase& test_case : kCases) {
    const auto lends = {LoansAreReadInPlace, SubgroupsShareMemoryToo, MemoryIsSharedAsSaid};
    if (std::find(lends.begin(), lends.end(), test_case.run) == lends.end()) {
      cases.push_back(test_case);
    }
  }
  return cases;
}

}  // namespace annulus::parallel
