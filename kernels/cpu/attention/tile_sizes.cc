#include "kernels/cpu/attention/tile_sizes.h"

#include <unistd.h>

#include <algorithm>

#include "kernels/cpu/attention/tiles.h"

namespace annulus::kernels::cpu {
namespace {

constexpr int64_t kFloatBytes = 4;

int64_t CacheBytes(int name, int64_t common) {
  const int64_t bytes = sysconf(name);
  return bytes > 0 ? bytes : common;
}

// Multiples of the quantum, at least one of them.
int64_t Down(int64_t keys) { return std::max<int64_t>(keys / kKeyQuantum, 1) * kKeyQuantum; }
int64_t Up(int64_t keys) { return Down(keys + kKeyQuantum - 1); }

}  // namespace

const CacheSizes& ThisCoresCaches() {
#if defined(_SC_LEVEL1_DCACHE_SIZE) && defined(_SC_LEVEL2_CACHE_SIZE)
  static const CacheSizes sizes{CacheBytes(_SC_LEVEL1_DCACHE_SIZE, int64_t{32} << 10),
                                CacheBytes(_SC_LEVEL2_CACHE_SIZE, int64_t{1} << 20)};
#else
  static const CacheSizes sizes{int64_t{32} << 10, int64_t{1} << 20};
#endif
  return sizes;
}

TileSizes ChooseTileSizes(const CacheSizes& caches, const TileDemand& demand) {
  // The probabilities of a tile, written and read back at once, fill the first level.
  const int64_t score_bytes = kStripQueries * kFloatBytes;
  const int64_t forward_keys =
      std::min(caches.first_level / score_bytes, TileSizes::kMostForwardKeys);

  // The strips of a task, packed queries and running output, take half of the second level.
  const int64_t strip_bytes =
      kStripQueries * demand.head_dim * (demand.operand_bytes + kFloatBytes);
  const int64_t strips = caches.second_level / 2 / strip_bytes;

  // So do backward's packed K (twice) and V, dK and dV, P and dS of a tile. The more keys, the less
  // often queries stream by; but a head has eight tiles or more, lest threads run out of them.
  constexpr int64_t kFewestTiles = 8;
  const int64_t key_bytes =
      demand.head_dim * (3 * demand.operand_bytes + 2 * kFloatBytes) + 2 * score_bytes;
  const int64_t backward_keys = caches.second_level / 2 / key_bytes;

  return {.forward_keys = std::min(Down(forward_keys), Up(demand.key_tokens)),
          .forward_strips = std::clamp<int64_t>(strips, 1, TileSizes::kMostStrips),
          .backward_keys = std::min(Down(backward_keys), Up(demand.key_tokens / kFewestTiles))};
}

}  // namespace annulus::kernels::cpu
