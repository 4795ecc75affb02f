// What time is measured by.
#pragma once

#include <cstdint>
#include <string_view>

namespace annulus::runtime {

enum class Clock : uint8_t {
  kThreadCpu,  // time that the calling thread ran: other programs on its core do not count
  kWall,
};

// Threads of one team have no common CPU time that means anything: they wait for one another. Nor
// has a device (kOnDevice), for whose work the host's thread waits.
constexpr Clock ClockOf(int threads) { return threads == 1 ? Clock::kThreadCpu : Clock::kWall; }

// As in "thread CPU time".
std::string_view NameOf(Clock clock);

// Now, in seconds from some moment. Throws SystemError where the clock cannot be read.
double Now(Clock clock);

// Seconds that work() takes.
template <class Work>
double SecondsOf(Clock clock, const Work& work) {
  const double start = Now(clock);
  work();
  return Now(clock) - start;
}

}  // namespace annulus::runtime
