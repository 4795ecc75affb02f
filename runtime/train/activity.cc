#include "runtime/train/activity.h"

#include <algorithm>

namespace annulus::runtime {

Straggler FindStraggler(std::span<const double> busy) {
  std::vector<double> sorted(busy.begin(), busy.end());
  std::sort(sorted.begin(), sorted.end());
  const size_t half = sorted.size() / 2;
  const double median =
      sorted.size() % 2 == 1 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2;
  const auto slowest = std::max_element(busy.begin(), busy.end());
  return {.rank = static_cast<int>(slowest - busy.begin()),
          .factor = median > 0 ? *slowest / median : 1};
}

void ActivityRecorder::EndStep(const StepTotals& totals) {
  in_step_ = false;
  ++steps_;
  sums_.busy_ms += totals.busy_ms;
  sums_.exposed_ms += totals.exposed_ms;
  sums_.bytes_sent += static_cast<double>(totals.bytes_sent);
}

RankActivity ActivityRecorder::Mean(int rank, const std::string& host) const {
  const double steps = static_cast<double>(std::max<int64_t>(steps_, 1));
  RankActivity mean{.rank = rank,
                    .host = host,
                    .busy_ms = sums_.busy_ms / steps,
                    .exposed_ms = sums_.exposed_ms / steps,
                    .bytes_sent = sums_.bytes_sent / steps,
                    .schedule = {}};
  for (const auto& [key, sum] : schedule_) {
    mean.schedule.push_back({.pass = sum.pass,
                             .step = sum.step,
                             .compute_ms = sum.compute_ms / steps,
                             .wait_ms = sum.wait_ms / steps,
                             .bytes_sent = sum.bytes_sent / steps});
  }
  return mean;
}

void ActivityRecorder::OnStep(const parallel::StepRecord& record) {
  if (in_step_) {
    ScheduleStepTimes& sum = schedule_[{record.pass, record.step}];
    sum.pass = record.pass;
    sum.step = record.step;
    sum.compute_ms += record.compute_ms();
    sum.wait_ms += record.wait_ms;
    sum.bytes_sent += static_cast<double>(record.bytes_sent);
  }
  if (next_ != nullptr) next_->OnStep(record);
}

void ActivityRecorder::OnSend(const parallel::Hop& hop, parallel::TimePoint at) {
  if (next_ != nullptr) next_->OnSend(hop, at);
}

void ActivityRecorder::OnReceive(const parallel::Hop& hop, parallel::TimePoint at) {
  if (next_ != nullptr) next_->OnReceive(hop, at);
}

void ActivityRecorder::OnWait(std::string_view call, const parallel::Span& span) {
  if (next_ != nullptr) next_->OnWait(call, span);
}

void ActivityRecorder::OnPhase(std::string_view name, int64_t index, const parallel::Span& span) {
  if (next_ != nullptr) next_->OnPhase(name, index, span);
}

}  // namespace annulus::runtime
