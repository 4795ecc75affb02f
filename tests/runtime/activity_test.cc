// What adds up the time of ranks, and how it is told.
#include <gmock/gmock.h>

#include <array>
#include <nlohmann/json.hpp>

#include "parallel/local_communicator.h"
#include "runtime/report/activity_report.h"
#include "runtime/train/trace.h"

namespace annulus::runtime {
namespace {

using parallel::Pass;
using parallel::Span;
using parallel::TimePoint;
using std::chrono::microseconds;
using testing::HasSubstr;
using testing::Not;

parallel::StepRecord Record(Pass pass, int step, int ms, double wait_ms) {
  return {.pass = pass,
          .step = step,
          .kv_owner = step,
          .span = {TimePoint(), TimePoint() + std::chrono::milliseconds(ms)},
          .wait_ms = wait_ms,
          .bytes_sent = 100};
}

TEST(Straggler, IsTheBusiestOverTheMedian) {
  const std::array<double, 4> even = {2, 2, 3, 2};
  EXPECT_EQ(FindStraggler(even).rank, 2);
  EXPECT_DOUBLE_EQ(FindStraggler(even).factor, 1.5);
  const std::array<double, 4> two = {1, 3, 9, 2};
  EXPECT_DOUBLE_EQ(FindStraggler(two).factor, 9 / 2.5);
  const std::array<double, 1> alone = {7};
  EXPECT_DOUBLE_EQ(FindStraggler(alone).factor, 1);
  const std::array<double, 2> idle = {0, 0};
  EXPECT_DOUBLE_EQ(FindStraggler(idle).factor, 1);
}

TEST(ActivityRecorder, MeansOverStepsOfWhatHappensWithinThem) {
  ActivityRecorder recorder;
  recorder.OnStep(Record(Pass::kForward, 0, 50, 50));  // an evaluation
  recorder.BeginStep();
  recorder.OnStep(Record(Pass::kForward, 0, 10, 4));
  recorder.OnStep(Record(Pass::kForward, 0, 20, 4));  // another layer
  recorder.OnStep(Record(Pass::kBackward, 1, 8, 1));
  recorder.EndStep({.busy_ms = 30, .exposed_ms = 9, .bytes_sent = 300});
  recorder.BeginStep();
  recorder.OnStep(Record(Pass::kForward, 0, 30, 0));
  recorder.EndStep({.busy_ms = 50, .exposed_ms = 1, .bytes_sent = 100});

  const RankActivity mean = recorder.Mean(3, "node");
  EXPECT_EQ(mean.rank, 3);
  EXPECT_DOUBLE_EQ(mean.busy_ms, 40);
  EXPECT_DOUBLE_EQ(mean.exposed_ms, 5);
  EXPECT_DOUBLE_EQ(mean.bytes_sent, 200);
  ASSERT_EQ(mean.schedule.size(), 2u);
  EXPECT_EQ(mean.schedule[0].pass, Pass::kForward);
  EXPECT_DOUBLE_EQ(mean.schedule[0].compute_ms, (6.0 + 16 + 30) / 2);
  EXPECT_DOUBLE_EQ(mean.schedule[0].wait_ms, 4);
  EXPECT_DOUBLE_EQ(mean.schedule[0].bytes_sent, 150);
  EXPECT_EQ(mean.schedule[1].step, 1);
  EXPECT_DOUBLE_EQ(mean.schedule[1].compute_ms, 3.5);

  const RankActivity again = RankActivityFromJson(ToJson(mean));
  EXPECT_EQ(ToJson(again), ToJson(mean));
}

std::vector<RankActivity> TwoRanks(double busy_of_second) {
  const ScheduleStepTimes step{
      .pass = Pass::kBackward, .step = 0, .compute_ms = 4, .wait_ms = 1, .bytes_sent = 2048};
  std::vector<RankActivity> ranks(2);
  ranks[0] = {.rank = 0, .host = "left", .busy_ms = 10, .exposed_ms = 6, .schedule = {step}};
  ranks[1] = {.rank = 1, .host = "right", .busy_ms = busy_of_second, .schedule = {step}};
  ranks[1].schedule[0].wait_ms = 3;
  return ranks;
}

TEST(ActivityReport, NamesTheStragglerAndWhoWaitsLongest) {
  const std::string table = ActivityTable(TwoRanks(30));
  EXPECT_THAT(table, HasSubstr("straggler: rank 1 on right, busy 1.50 times"));
  EXPECT_THAT(table, HasSubstr("backward"));
  EXPECT_THAT(table, HasSubstr("2.00 ms"));  // the mean wait
  EXPECT_THAT(table, HasSubstr("2.00 KiB"));
  EXPECT_THAT(ActivityTable(TwoRanks(10.5)), Not(HasSubstr("straggler")));
  EXPECT_EQ(ActivityTable({TwoRanks(10)[0]}), "");
  const nlohmann::ordered_json json = ActivityJson(TwoRanks(30));
  EXPECT_EQ(json.at("slowest").at("host"), "right");
  EXPECT_EQ(json.at("ranks").size(), 2u);
}

// Ranks of one host read one clock, so they count from one moment and arrows never point back.
TEST(Trace, RanksOfAHostShareTheOrigin) {
  std::array<TimePoint, 4> origins;
  parallel::RunRanks(4, [&](parallel::Communicator& world) {
    const TimePoint before = std::chrono::steady_clock::now();
    const TimePoint origin = SharedOrigin(world);
    EXPECT_LT(before, origin);
    origins[static_cast<size_t>(world.rank())] = origin;
  });
  for (const TimePoint origin : origins) EXPECT_EQ(origin, origins[0]);
}

TEST(Trace, HasATrackForEachRankAndBothEndsOfAnArrow) {
  const TimePoint origin = TimePoint() + microseconds(1000);
  const auto after = [&](int us) { return origin + microseconds(us); };
  TraceRecorder sender, receiver;
  sender.OnWait("barrier", {origin, after(1)});  // not recording yet
  sender.Start(origin);
  receiver.Start(origin);
  const parallel::Hop hop{.from = 0, .to = 1, .bytes = 64, .id = 0xabc};
  sender.OnSend(hop, after(5));
  sender.OnPhase("forward layer", 2, {after(4), after(20)});
  receiver.OnReceive(hop, after(9));
  receiver.OnWait("exchange", {after(6), after(9)});
  receiver.Stop();
  receiver.OnWait("exchange", {after(10), after(11)});

  const nlohmann::ordered_json trace =
      TraceJson({{0, "left", sender.Events(0)}, {1, "right", receiver.Events(1)}});
  const auto& events = trace.at("traceEvents");
  std::vector<std::string> seen;
  for (const auto& event : events) {
    const std::string phase = event.at("ph");
    if (phase == "M") {
      if (event.at("name") == "thread_name") seen.push_back(event.at("args").at("name"));
      continue;
    }
    seen.push_back(phase + " " + event.at("name").get<std::string>() + " on " +
                   std::to_string(event.at("tid").get<int>()) + " at " +
                   std::to_string(event.at("ts").get<int>()));
    if (phase == "X") {
      EXPECT_GT(event.at("dur"), 0);
    } else {
      EXPECT_EQ(event.at("id"), "0000000000000abc");
    }
  }
  EXPECT_THAT(seen,
              testing::UnorderedElementsAre("rank 0 (left)", "rank 1 (right)", "s 0 to 1 on 0 at 5",
                                            "X forward layer 2 on 0 at 4", "f 0 to 1 on 1 at 9",
                                            "X wait: exchange on 1 at 6"));
}

}  // namespace
}  // namespace annulus::runtime
