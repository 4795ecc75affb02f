// How many keys and strips of queries a pass of fused attention works on, by the caches it has.
#pragma once

#include <cstdint>

namespace annulus::kernels::cpu {

// Of one core, in bytes.
struct CacheSizes {
  int64_t first_level;
  int64_t second_level;
};

// This machine's, found once; common ones where it does not tell.
const CacheSizes& ThisCoresCaches();

// What one attention needs of the caches.
struct TileDemand {
  int64_t head_dim;
  int64_t operand_bytes;  // of a packed element: 4 or 2
  int64_t key_tokens;     // of the block of keys, which tiles need not exceed
};

// Tiles of keys are multiples of kKeyQuantum, which every kernel's row groups divide.
inline constexpr int64_t kKeyQuantum = 96;

struct TileSizes {
  static constexpr int64_t kMostForwardKeys = 384;
  static constexpr int64_t kMostStrips = 32;

  int64_t forward_keys;
  int64_t forward_strips;  // that fold a tile of keys before the next one is packed
  int64_t backward_keys;
};

// A pure function of its arguments: the order of sums, and with it the bits of a result, depend on
// the caches of the machine but on nothing else that may change from run to run.
TileSizes ChooseTileSizes(const CacheSizes& caches, const TileDemand& demand);

}  // namespace annulus::kernels::cpu
