// Schedules of all ranks of a group fit together, whoever wants whose keys.
#include "parallel/schedule.h"

#include <gtest/gtest.h>

#include <random>
#include <vector>

#include "kernels/base/error.h"

namespace annulus::parallel {
namespace {

// wants[rank][owner].
using Wants = std::vector<std::vector<bool>>;

std::vector<Schedule> SchedulesOf(const Wants& wants) {
  const int ranks = static_cast<int>(wants.size());
  std::vector<Schedule> all;
  for (int rank = 0; rank < ranks; ++rank) {
    all.push_back(RingSchedule(rank, ranks, [&](int r, int owner) {
      return wants[static_cast<size_t>(r)][static_cast<size_t>(owner)];
    }));
  }
  return all;
}

const ScheduleStep* StepOf(const std::vector<Schedule>& all, int rank, size_t step) {
  const std::vector<ScheduleStep>& steps = all[static_cast<size_t>(rank)].steps;
  return step < steps.size() ? &steps[step] : nullptr;
}

// What one rank sends in a step its peer receives in that step, and has at hand in the next.
void ExpectExchangesMeet(const std::vector<Schedule>& all) {
  for (int rank = 0; rank < std::ssize(all); ++rank) {
    const std::vector<ScheduleStep>& steps = all[static_cast<size_t>(rank)].steps;
    for (size_t s = 0; s < steps.size(); ++s) {
      if (steps[s].send_to != kNobody) {
        const ScheduleStep* peer = StepOf(all, steps[s].send_to, s);
        const ScheduleStep* after = StepOf(all, steps[s].send_to, s + 1);
        ASSERT_TRUE(peer != nullptr && after != nullptr);
        EXPECT_EQ(peer->receive_from, rank);
        EXPECT_NE(steps[s].kv_owner, kNobody);
        EXPECT_EQ(after->kv_owner, steps[s].kv_owner);
      }
      if (steps[s].receive_from != kNobody) {
        const ScheduleStep* peer = StepOf(all, steps[s].receive_from, s);
        ASSERT_NE(peer, nullptr);
        EXPECT_EQ(peer->send_to, rank);
      }
    }
  }
}

// Every rank has the keys it wants once, its own first.
void ExpectWantsAreMet(const std::vector<Schedule>& all, const Wants& wants) {
  for (size_t rank = 0; rank < all.size(); ++rank) {
    std::vector<int> times(all.size());
    for (const ScheduleStep& step : all[rank].steps) {
      if (step.kv_owner != kNobody) ++times[static_cast<size_t>(step.kv_owner)];
    }
    EXPECT_EQ(all[rank].steps.front().kv_owner, static_cast<int>(rank));
    for (size_t owner = 0; owner < all.size(); ++owner) {
      EXPECT_LE(times[owner], 1);
      if (wants[rank][owner]) {
        EXPECT_EQ(times[owner], 1) << "rank " << rank << " wants " << owner;
      }
    }
  }
}

// A gradient that left comes home once, from the rank its owner expects it from, which wants it.
void ExpectGradientsComeHome(const std::vector<Schedule>& all, const Wants& wants) {
  for (size_t owner = 0; owner < all.size(); ++owner) {
    int homes = 0;
    for (size_t rank = 0; rank < all.size(); ++rank) {
      const std::vector<ScheduleStep>& steps = all[rank].steps;
      for (size_t s = 0; s < steps.size(); ++s) {
        if (steps[s].home_to != static_cast<int>(owner)) continue;
        ++homes;
        EXPECT_EQ(steps[s].kv_owner, static_cast<int>(owner));
        EXPECT_EQ(steps[s].send_to, kNobody);
        EXPECT_EQ(all[owner].home_from, static_cast<int>(rank));
        EXPECT_TRUE(wants[rank][owner]);
        EXPECT_EQ(all[owner].home_is_last, s + 1 == all.size());
      }
    }
    EXPECT_EQ(homes, all[owner].home_from == kNobody ? 0 : 1);
    EXPECT_EQ(all[owner].steps.front().send_to == kNobody, all[owner].home_from == kNobody);
  }
}

void ExpectSound(const Wants& wants) {
  const std::vector<Schedule> all = SchedulesOf(wants);
  ExpectExchangesMeet(all);
  ExpectWantsAreMet(all, wants);
  ExpectGradientsComeHome(all, wants);
}

TEST(RingSchedule, FitsTogetherWhoeverWantsWhat) {
  std::mt19937 generator(std::random_device{}());
  for (size_t ranks : {1, 2, 3, 4, 7, 8}) {
    for (double share : {0.0, 0.1, 0.3, 0.7, 1.0}) {
      for (int draw = 0; draw < 20; ++draw) {
        Wants wants(ranks, std::vector<bool>(ranks));
        for (auto& row : wants) {
          for (size_t owner = 0; owner < ranks; ++owner) {
            row[owner] = std::bernoulli_distribution(share)(generator);
          }
        }
        ExpectSound(wants);
      }
    }
  }
}

TEST(RingSchedule, SendsWhatIsWantedAndNoMore) {
  constexpr int kRanks = 4;
  const auto sent = [](const std::function<bool(int, int)>& wants) {
    std::vector<int> blocks;
    for (int rank = 0; rank < kRanks; ++rank) {
      blocks.push_back(0);
      for (const ScheduleStep& step : RingSchedule(rank, kRanks, wants).steps) {
        blocks.back() += step.send_to != kNobody ? 1 : 0;
      }
    }
    return blocks;
  };
  EXPECT_EQ(sent([](int, int) { return true; }), (std::vector<int>{3, 3, 3, 3}));
  EXPECT_EQ(sent([](int rank, int owner) { return owner <= rank; }),
            (std::vector<int>{1, 2, 3, 0}));
  EXPECT_EQ(sent([](int rank, int owner) { return owner == rank || owner + 1 == rank; }),
            (std::vector<int>{1, 1, 1, 0}));
  EXPECT_EQ(sent([](int rank, int owner) { return owner == rank; }),
            (std::vector<int>{0, 0, 0, 0}));
}

TEST(RingSchedule, RefusesARankOutsideTheRing) {
  const auto all = [](int, int) { return true; };
  EXPECT_THROW(RingSchedule(2, 2, all), InternalError);
  EXPECT_THROW(RingSchedule(-1, 2, all), InternalError);
}

}  // namespace
}  // namespace annulus::parallel
