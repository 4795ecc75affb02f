// What attention makes of cache sizes.
#include "kernels/cpu/attention/tile_sizes.h"

#include <gtest/gtest.h>

namespace annulus::kernels::cpu {
namespace {

constexpr CacheSizes kServer{48 << 10, 2 << 20};
constexpr int64_t kManyKeys = 1 << 20;

TileDemand Demand(int64_t head_dim, int64_t operand_bytes = 4, int64_t key_tokens = kManyKeys) {
  return {.head_dim = head_dim, .operand_bytes = operand_bytes, .key_tokens = key_tokens};
}

TEST(TileSizes, AreMultiplesOfTheQuantumAndNeverNothing) {
  for (int64_t first : {1, 16 << 10, 48 << 10, 1 << 20}) {
    for (int64_t second : {1, 256 << 10, 2 << 20, 64 << 20}) {
      for (int64_t dim : {1, 64, 256, 4096}) {
        for (int64_t keys : {0, 1, 96, 97, 100000}) {
          const TileSizes sizes = ChooseTileSizes({first, second}, Demand(dim, 2, keys));
          for (int64_t tile : {sizes.forward_keys, sizes.backward_keys}) {
            EXPECT_GE(tile, kKeyQuantum);
            EXPECT_EQ(tile % kKeyQuantum, 0);
            EXPECT_LE(tile, std::max(keys + kKeyQuantum - 1, kKeyQuantum));
          }
          EXPECT_GE(sizes.forward_strips, 1);
          EXPECT_LE(sizes.forward_strips, TileSizes::kMostStrips);
        }
      }
    }
  }
}

// What is read again and again stays within the cache it was sized for.
TEST(TileSizes, FitTheCaches) {
  const TileSizes sizes = ChooseTileSizes(kServer, Demand(64));
  EXPECT_LE(sizes.forward_keys * 64 * 4, kServer.first_level);
  EXPECT_LE(sizes.forward_strips * 64 * 64 * (4 + 4), kServer.second_level / 2);
  EXPECT_LE(sizes.backward_keys * (64 * 5 + 2 * 64) * 4, kServer.second_level / 2);
}

TEST(TileSizes, GrowWithCachesAndShrinkWithHeadsAndWideOperands) {
  const TileSizes server = ChooseTileSizes(kServer, Demand(128));
  EXPECT_LT(ChooseTileSizes({16 << 10, 2 << 20}, Demand(128)).forward_keys, server.forward_keys);
  EXPECT_LT(ChooseTileSizes({48 << 10, 512 << 10}, Demand(128)).backward_keys,
            server.backward_keys);
  EXPECT_LT(ChooseTileSizes(kServer, Demand(256)).backward_keys, server.backward_keys);
  EXPECT_GT(ChooseTileSizes(kServer, Demand(128, 2)).backward_keys, server.backward_keys);
}

// Backward shares a head's tiles among threads.
TEST(TileSizes, LeaveEightTilesToAHeadOrTheSmallest) {
  EXPECT_EQ(ChooseTileSizes(kServer, Demand(64, 4, 1024)).backward_keys, 192);
  EXPECT_EQ(ChooseTileSizes(kServer, Demand(64, 4, 300)).backward_keys, kKeyQuantum);
}

}  // namespace
}  // namespace annulus::kernels::cpu
