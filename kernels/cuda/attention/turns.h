// Whose turn it is to add to the gradient of a tile of queries: sums of f32 depend on their order,
// so it is the same in every run.
//
// Blocks of a kernel each have a tile of keys to themselves, and add to the gradients of the
// queries that see it. Those that meet at a tile of queries go from the last tile of keys to the
// first. A word per tile of queries counts them; the last one of a fold leaves 0. A block waits for
// such alone as have started before it: blocks draw their work from a counter, last keys first.
//
// Under a causal mask blocks that go alike do not wait: the last keys are seen by the fewest
// queries, and each block of keys is one tile of queries behind the one that it follows.
#pragma once

#include "kernels/cuda/attention/folds.h"
#include "kernels/cuda/attention/visible.h"

namespace annulus::kernels::cuda {

// What is drawn: a tile of keys of every key/value head of every sequence.
struct KeyDraws {
  int key_tiles = 0;
  int kv_heads = 0;
  int batch = 0;
  int heads_at_once = 1;  // of all sequences; of such a group the last tiles of keys come first

  int count() const { return key_tiles * kv_heads * batch; }
};

struct KeyWork {
  int key_tile;
  int kv_head;
  int batch;
};

__device__ __forceinline__ KeyWork WorkOf(unsigned draw, const KeyDraws& draws) {
  const int group_size = draws.key_tiles * draws.heads_at_once;
  const int group = static_cast<int>(draw) / group_size;
  const int in_group = static_cast<int>(draw) % group_size;
  const int first_head = group * draws.heads_at_once;
  const int heads = min(draws.heads_at_once, draws.batch * draws.kv_heads - first_head);
  const int head = first_head + in_group % heads;
  return {draws.key_tiles - 1 - in_group / heads, head % draws.kv_heads, head / draws.kv_heads};
}

// Values of a word: how many have to have been there, and what to leave.
struct Turn {
  int awaited;
  int left;
};

// For the block of `key_tile`, at a tile of queries that sees it.
__device__ __forceinline__ Turn TurnAt(const DeviceMask& mask, const Tile& queries,
                                       const TileTable& keys, int size, int key_tile) {
  const QueryBounds bounds(mask, queries);
  int above = 0, first = key_tile;
  for (int r = keys.runs - 1; r >= 0; --r) {
    const int before = r == 0 ? 0 : keys.run[r - 1].tiles;
    const TileInterval within = KeyTilesWithin(bounds, keys.run[r], size);
    above += max(0, within.end - max(within.begin, key_tile - before + 1));
    if (within.begin < within.end) first = before + within.begin;
  }
  return {above, first < key_tile ? above + 1 : 0};
}

}  // namespace annulus::kernels::cuda
