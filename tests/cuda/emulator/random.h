// Pseudo-random choices, the same for the same seed.
#pragma once

#include <cstdint>

namespace annulus::emulator {

class Random {
 public:
  explicit Random(uint64_t seed = 1) : state_(seed) {}

  // SplitMix64 (Steele, Lea and Flood 2014).
  uint64_t Next() {
    uint64_t z = state_ += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
  }
  // Of [0, n).
  uint32_t Below(uint32_t n) { return static_cast<uint32_t>(((Next() >> 32) * n) >> 32); }
  bool OneIn(uint32_t n) { return Below(n) == 0; }

 private:
  uint64_t state_;
};

}  // namespace annulus::emulator
