// What each rank did with the time of the training steps: computing, waiting, and that of every
// step of the schedule that its attention runs.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "parallel/observer.h"

namespace annulus::runtime {

// Means over training steps, all layers and micro-batches of a step together.
struct ScheduleStepTimes {
  parallel::Pass pass = parallel::Pass::kForward;
  int step = 0;  // the number of the schedule's steps: what was still under way after the last
  double compute_ms = 0;
  double wait_ms = 0;
  double bytes_sent = 0;
};

struct RankActivity {
  int rank = 0;
  std::string host;
  double busy_ms = 0;  // step time less waits
  double exposed_ms = 0;
  double bytes_sent = 0;
  std::vector<ScheduleStepTimes> schedule;  // by pass and step
};

// The rank that computed longest, for which all others wait.
struct Straggler {
  int rank = 0;
  double factor = 1;  // its time over the median of all ranks'
};

// How far above the median a rank must be to be called a straggler.
inline constexpr double kStragglerFactor = 1.1;

// `busy` by rank, at least one. Of equals the first.
Straggler FindStraggler(std::span<const double> busy);

// Adds up the activity of one rank. Whatever happens between EndStep and BeginStep does not count.
class ActivityRecorder final : public parallel::Observer {
 public:
  // Passes on everything to `next`, where it is not null; that must outlive this.
  explicit ActivityRecorder(parallel::Observer* next = nullptr) : next_(next) {}

  struct StepTotals {
    double busy_ms = 0;
    double exposed_ms = 0;
    int64_t bytes_sent = 0;
  };
  void BeginStep() { in_step_ = true; }
  void EndStep(const StepTotals& totals);

  RankActivity Mean(int rank, const std::string& host) const;

  void OnSend(const parallel::Hop& hop, parallel::TimePoint at) override;
  void OnReceive(const parallel::Hop& hop, parallel::TimePoint at) override;
  void OnWait(std::string_view call, const parallel::Span& span) override;
  void OnStep(const parallel::StepRecord& record) override;
  void OnPhase(std::string_view name, int64_t index, const parallel::Span& span) override;

 private:
  parallel::Observer* next_;
  bool in_step_ = false;
  int64_t steps_ = 0;
  RankActivity sums_;
  std::map<std::pair<parallel::Pass, int>, ScheduleStepTimes> schedule_;
};

}  // namespace annulus::runtime
