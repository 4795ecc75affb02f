// Finds work of different streams that uses the same memory and that no event orders, whatever
// order it came in. Where kernels are compiled for the race detector, which sees what they touch.
//
// Every piece of work has a clock: how far it knows every stream to be done (Lamport 1978), from
// its own stream, the events it waits for and what the host had waited for when it was put there.
// What any host thread has waited for counts as known to all.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>

#include "tests/cuda/emulator/race_detector.h"

namespace annulus::emulator {

// By the number of a stream, how many of its works are before.
using WorkClock = std::map<uint64_t, uint64_t>;
using WorkClockPointer = std::shared_ptr<const WorkClock>;

void Join(WorkClock& into, const WorkClock& from);

// The work that this host thread runs.
struct RunningWork {
  uint64_t stream = 0;  // number, from 1
  uint64_t work = 0;
  const char* name = "";
  WorkClockPointer clock;
};

// While it lives, accesses are of this work.
class InWork {
 public:
  explicit InWork(RunningWork work);
  ~InWork();
  InWork(const InWork&) = delete;
  InWork& operator=(const InWork&) = delete;
};

// The running work accesses memory of a device. Copies, fills and what stands in for CUDA's
// libraries call it for all they touch, kernels for their first access to every place.
void TouchByWork(const void* p, size_t bytes, Access access, Place at = nullptr);

// Memory is freed: what is there next has no history.
void ForgetWorkOn(const void* p, size_t bytes);

}  // namespace annulus::emulator
