// Random numbers that are a pure function of where they are used: no state, no order of drawing, so
// every rank gets the same ones however the work is split (Salmon et al. 2011, "as easy as 1, 2,
// 3").
#pragma once

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <cstdint>
#include <string_view>

namespace annulus::runtime {

// Training and held-out draws never meet, whatever their indices.
enum class Stream : uint64_t { kTrain = 1, kHeldOut = 2 };

struct Counter {
  uint64_t seed = 0;
  Stream stream = Stream::kTrain;
  int64_t index = 0;     // sequence
  int64_t position = 0;  // in the sequence
};
static_assert(sizeof(Counter) == 32, "padding would be hashed too");

// Uniform over 0 .. bound - 1. Requires bound >= 1. The bias of scaling is below bound / 2^64.
inline int64_t UniformBelow(const Counter& counter, int64_t bound) {
  const unsigned __int128 hash = XXH3_64bits(&counter, sizeof(counter));
  return static_cast<int64_t>((hash * static_cast<unsigned __int128>(bound)) >> 64);
}

inline uint64_t HashText(std::string_view text) { return XXH3_64bits(text.data(), text.size()); }

}  // namespace annulus::runtime
