// Who watches what a rank does with its time: the messages it sends and receives, the waits its
// host stands in, and the steps of a schedule.
#pragma once

#include <chrono>
#include <cstdint>
#include <string_view>

namespace annulus::parallel {

using TimePoint = std::chrono::steady_clock::time_point;

struct Span {
  TimePoint begin;
  TimePoint end;

  double ms() const { return std::chrono::duration<double, std::milli>(end - begin).count(); }
};

// A message between two ranks of the world. Both see it under the same id, and no other message
// under that one.
struct Hop {
  int from = 0;
  int to = 0;
  int64_t bytes = 0;
  uint64_t id = 0;
};

enum class Pass : uint8_t { kForward, kBackward };

// A step of a schedule (schedule.h) on this rank: its keys awaited and folded in, and what else was
// waited for meanwhile.
struct StepRecord {
  Pass pass = Pass::kForward;
  // Counted from 0; the number of the schedule's steps: what was still under way after the last.
  int step = 0;
  // Rank of the world; negative: nobody's keys.
  int kv_owner = -1;
  Span span = {};
  double wait_ms = 0;  // of the span
  int64_t bytes_sent = 0;

  double compute_ms() const { return span.ms() - wait_ms; }
};

// Every call comes from the thread that owns the rank, at the end of what it tells of. Exceptions
// would come out of the rank's own calls; throw none.
class Observer {
 public:
  virtual ~Observer() = default;

  virtual void OnSend(const Hop&, TimePoint) {}
  virtual void OnReceive(const Hop&, TimePoint) {}
  // `call`: what was waited for, as in "all-reduce".
  virtual void OnWait(std::string_view /*call*/, const Span&) {}
  virtual void OnStep(const StepRecord&) {}
  // A part of the caller's program, as in "forward layer", 3; `index` is negative where there is
  // only one.
  virtual void OnPhase(std::string_view /*name*/, int64_t /*index*/, const Span&) {}
};

}  // namespace annulus::parallel
