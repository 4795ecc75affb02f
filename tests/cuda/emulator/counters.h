// Counting what is executed; see Counts.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>

namespace annulus::emulator {

struct Counters {
  std::atomic<int64_t> launches = 0, blocks = 0, switches = 0;
  std::atomic<int64_t> mma = 0, wgmma = 0, ldmatrix = 0, ldmatrix_conflicts = 0;
};
inline Counters counters;

// Launches on every device since the seed was set: random choices are a function of both.
inline std::array<std::atomic<uint64_t>, 16> launches_of_device{};

inline void Count(std::atomic<int64_t> Counters::*counter, int64_t by = 1) {
  (counters.*counter).fetch_add(by, std::memory_order_relaxed);
}

}  // namespace annulus::emulator
