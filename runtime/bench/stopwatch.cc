#include "runtime/bench/stopwatch.h"

#include <cerrno>
#include <cstring>
#include <ctime>

#include "kernels/base/error.h"

namespace annulus::runtime {

std::string_view NameOf(Clock clock) {
  return clock == Clock::kThreadCpu ? "thread CPU time" : "wall time";
}

double Now(Clock clock) {
  timespec time{};
  const clockid_t id = clock == Clock::kThreadCpu ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC;
  if (clock_gettime(id, &time) != 0) {
    ThrowSystemError("clock_gettime({}): {}", NameOf(clock), std::strerror(errno));
  }
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

}  // namespace annulus::runtime
