// What an observer of a group is told of messages and waits.
#include "parallel/observer.h"

#include <gtest/gtest.h>

#include <map>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "parallel/local_communicator.h"
#include "parallel/watch.h"

namespace annulus::parallel {
namespace {

class Notes final : public Observer {
 public:
  void OnSend(const Hop& hop, TimePoint at) override {
    sent.push_back(hop);
    sent_at.push_back(at);
  }
  void OnReceive(const Hop& hop, TimePoint at) override {
    received.push_back(hop);
    received_at.push_back(at);
  }
  void OnWait(std::string_view call, const Span& span) override {
    waits[std::string(call)] += 1;
    waited_ms += span.ms();
  }

  std::vector<Hop> sent, received;
  std::vector<TimePoint> sent_at, received_at;
  std::map<std::string, int> waits;
  double waited_ms = 0;
};

struct Buffers {
  float out[4] = {1, 2, 3, 4};
  float in[4] = {};
  ConstView send() const { return {out, kernels::DType::kF32, {4}}; }
  View receive() { return {in, kernels::DType::kF32, {4}}; }
};

void PassRound(Communicator& group, int tag) {
  Buffers buffers;
  group
      .Start({.send = buffers.send(),
              .to = (group.rank() + 1) % group.size(),
              .receive = buffers.receive(),
              .from = (group.rank() + group.size() - 1) % group.size(),
              .tag = tag})
      .Wait();
}

// Two rounds in the whole group and one in each of two halves, whose ranks and tags are alike.
std::vector<Notes> ObservedRounds() {
  std::vector<Notes> notes(4);
  RunRanks(4, [&](Communicator& world) {
    Notes& mine = notes[static_cast<size_t>(world.rank())];
    const std::unique_ptr<Communicator> half = world.Split(world.rank() % 2);
    world.Observe(&mine);
    PassRound(world, 0);
    PassRound(*half, 0);
    PassRound(world, 0);
    world.Observe(nullptr);
    PassRound(world, 0);
  });
  return notes;
}

TEST(Observer, BothEndsOfAMessageAreToldTheSame) {
  const std::vector<Notes> notes = ObservedRounds();
  std::map<uint64_t, Hop> sent;
  std::map<uint64_t, TimePoint> sent_at;
  for (const Notes& rank : notes) {
    ASSERT_EQ(rank.sent.size(), 3u);
    for (size_t i = 0; i < 3; ++i) {
      EXPECT_TRUE(sent.emplace(rank.sent[i].id, rank.sent[i]).second) << "an id twice";
      sent_at[rank.sent[i].id] = rank.sent_at[i];
    }
  }
  for (size_t r = 0; r < notes.size(); ++r) {
    ASSERT_EQ(notes[r].received.size(), 3u);
    for (size_t i = 0; i < 3; ++i) {
      const Hop& hop = notes[r].received[i];
      ASSERT_TRUE(sent.contains(hop.id));
      EXPECT_EQ(sent[hop.id].from, hop.from);
      EXPECT_EQ(sent[hop.id].to, hop.to);
      EXPECT_EQ(hop.to, static_cast<int>(r));
      EXPECT_EQ(hop.bytes, 16);
      EXPECT_LE(sent_at[hop.id], notes[r].received_at[i]);
    }
  }
}

TEST(Observer, RanksAreThoseOfTheWorld) {
  const std::vector<Notes> notes = ObservedRounds();
  // The halves are ranks 0 and 2, 1 and 3.
  EXPECT_EQ(notes[1].sent[1].from, 1);
  EXPECT_EQ(notes[1].sent[1].to, 3);
  EXPECT_EQ(notes[2].received[1].from, 0);
}

TEST(Observer, WaitsAddUpToTheExposedCommunication) {
  RunRanks(2, [](Communicator& world) {
    Notes notes;
    world.Observe(&notes);
    const std::unique_ptr<Communicator> again = world.Subgroup({0, 1});
    const double before = world.counters().wait_ms;
    if (world.rank() == 0) std::this_thread::sleep_for(std::chrono::milliseconds(5));
    PassRound(world, 3);
    float sum[3] = {};
    world.AllReduceSum(View(sum, kernels::DType::kF32, {3})).Wait();
    again->Barrier();
    EXPECT_EQ(notes.waits,
              (std::map<std::string, int>{{"all-reduce", 1}, {"barrier", 1}, {"exchange", 1}}));
    EXPECT_NEAR(notes.waited_ms, world.counters().wait_ms - before + again->counters().wait_ms,
                1e-9);
    EXPECT_NEAR(world.all_counters().wait_ms, world.counters().wait_ms + again->counters().wait_ms,
                1e-9);
    EXPECT_EQ(world.all_counters().bytes_sent, world.counters().bytes_sent);
    world.Observe(nullptr);
  });
}

// Rank 1 of each half is late by 20 ms: its peer's step is mostly wait, and sends one message.
TEST(Observer, AStepIsWhatTheRankComputedWaitedAndSent) {
  RunRanks(4, [](Communicator& world) {
    class Steps final : public Observer {
     public:
      void OnStep(const StepRecord& record) override { records.push_back(record); }
      std::vector<StepRecord> records;
    };
    Steps steps;
    const std::unique_ptr<Communicator> half = world.Split(world.rank() % 2);
    world.Observe(&steps);
    if (half->rank() == 1) std::this_thread::sleep_for(std::chrono::milliseconds(20));
    {
      const StepWatch watch(*half, Pass::kBackward, 3, 1);
      PassRound(*half, 0);
    }
    { const StepWatch idle(*half, Pass::kForward, 0, -1); }
    world.Observe(nullptr);
    ASSERT_EQ(steps.records.size(), 2u);
    const StepRecord& step = steps.records[0];
    EXPECT_EQ(step.pass, Pass::kBackward);
    EXPECT_EQ(step.step, 3);
    EXPECT_EQ(step.kv_owner, 2 + world.rank() % 2);  // of the world
    EXPECT_EQ(step.bytes_sent, 16);
    EXPECT_GE(step.compute_ms(), 0);
    if (half->rank() == 0) {
      EXPECT_GT(step.wait_ms, 10);
    }
    EXPECT_EQ(steps.records[1].kv_owner, -1);
    EXPECT_EQ(steps.records[1].bytes_sent, 0);
  });
}

TEST(Observer, CountersOfAllAreThoseOfEveryGroup) {
  RunRanks(4, [](Communicator& world) {
    const std::unique_ptr<Communicator> half = world.Split(world.rank() / 2);
    PassRound(*half, 0);
    PassRound(world, 0);
    EXPECT_EQ(world.counters().bytes_sent, 16);
    EXPECT_EQ(half->counters().bytes_sent, 16);
    EXPECT_EQ(world.all_counters().bytes_sent, 32);
    EXPECT_EQ(half->all_counters().messages, 2);
  });
}

}  // namespace
}  // namespace annulus::parallel
