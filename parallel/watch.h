// What tells a group's observer of a piece of work, from construction to destruction.
#pragma once

#include "parallel/communicator.h"
#include "parallel/observer.h"

namespace annulus::parallel {

// A step of a schedule that `context` runs. `kv_owner` is a rank of the group, or negative.
class StepWatch {
 public:
  StepWatch(Communicator& context, Pass pass, int step, int kv_owner)
      : context_(context), before_(context.counters()) {
    record_.pass = pass;
    record_.step = step;
    record_.kv_owner = kv_owner < 0 ? -1 : context.WorldRank(kv_owner);
    record_.span.begin = std::chrono::steady_clock::now();
  }
  StepWatch(const StepWatch&) = delete;
  StepWatch& operator=(const StepWatch&) = delete;
  ~StepWatch() {
    Observer* observer = context_.observer();
    if (observer == nullptr) return;
    record_.span.end = std::chrono::steady_clock::now();
    record_.wait_ms = context_.counters().wait_ms - before_.wait_ms;
    record_.bytes_sent = context_.counters().bytes_sent - before_.bytes_sent;
    observer->OnStep(record_);
  }

 private:
  Communicator& context_;
  CommCounters before_;
  StepRecord record_;
};

class PhaseWatch {
 public:
  // `name` must outlive this.
  explicit PhaseWatch(Communicator& context, std::string_view name, int64_t index = -1)
      : context_(context), name_(name), index_(index), begin_(std::chrono::steady_clock::now()) {}
  PhaseWatch(const PhaseWatch&) = delete;
  PhaseWatch& operator=(const PhaseWatch&) = delete;
  ~PhaseWatch() {
    if (Observer* observer = context_.observer()) {
      observer->OnPhase(name_, index_, {begin_, std::chrono::steady_clock::now()});
    }
  }

 private:
  Communicator& context_;
  std::string_view name_;
  int64_t index_;
  TimePoint begin_;
};

}  // namespace annulus::parallel
