// Which tiles and which pairs of a fold a mask allows, on the device.
//
// Both ends of a query's range of keys ascend with its position (mask.h). So the keys of a tile of
// queries lie between the first query's first and the last query's last, and the queries of a tile
// of keys are found by bisection. Functions called Warp... are called by whole warps alike.
#pragma once

#include "kernels/cuda/attention/geometry.h"
#include "kernels/cuda/ptx.h"

namespace annulus::kernels::cuda {

// Consecutive tokens of a run. count = 0: none.
struct Tile {
  int start = 0;
  int stride = 1;
  int count = 0;
  int token = 0;

  __device__ __forceinline__ int at(int i) const { return start + i * stride; }
};

__device__ __forceinline__ Tile TileOf(const TileTable::Run& run, int tile_in_run, int size) {
  const int first = tile_in_run * size;
  return {run.start + first * run.stride, run.stride, min(size, run.count - first),
          run.token + first};
}

__device__ __forceinline__ Tile TileAt(const TileTable& table, int tile, int size) {
  int r = 0, before = 0;
  while (tile >= table.run[r].tiles) before = table.run[r++].tiles;
  return TileOf(table.run[r], tile - before, size);
}

// Positions [first, last] of the keys that a query may attend to; last < first: none.
struct KeyRange {
  int first = 0;
  int last = -1;

  __device__ __forceinline__ bool Has(int key) const { return first <= key && key <= last; }
};

// `token` is the query's index among the local ones.
__device__ __forceinline__ KeyRange KeysOf(const DeviceMask& mask, int position, int token) {
  if (position >= mask.length) return {};
  switch (mask.kind) {
    case MaskKind::kFull:
      return {0, mask.length - 1};
    case MaskKind::kWindow:
      return {max(0, position - mask.window + 1), position};
    case MaskKind::kDocuments:
      return {mask.document_first[token], position};
    default:
      return {0, position};
  }
}

__device__ __forceinline__ KeyRange KeysOf(const DeviceMask& mask, const Tile& queries, int i) {
  return i < queries.count ? KeysOf(mask, queries.at(i), queries.token + i) : KeyRange{};
}

// What a mask says of a tile of queries and one of keys.
enum class Visibility : int {
  kNone,
  kAll,
  kRanges,  // a pair is allowed where the key is in the query's range
  kBlocks,  // and where its block is selected
};

// The queries of a tile that are not padding, and where their ranges begin and end.
struct QueryBounds {
  int real = 0;
  int low_first = 0, high_first = 0, low_last = -1, high_last = -1;

  __device__ __forceinline__ QueryBounds(const DeviceMask& mask, const Tile& queries) {
    if (queries.count == 0 || queries.start >= mask.length) return;
    real = min(queries.count, (mask.length - 1 - queries.start) / queries.stride + 1);
    const KeyRange low = KeysOf(mask, queries, 0), high = KeysOf(mask, queries, real - 1);
    low_first = low.first;
    high_first = high.first;
    low_last = low.last;
    high_last = high.last;
  }
};

// The block pattern over whole tiles: walks the blocks that the tiles touch, or their tokens where
// these are fewer, a pair per lane.
__device__ inline Visibility WarpBlocksVisibility(const DeviceMask& mask, const Tile& queries,
                                                  int real, const Tile& keys) {
  const int size = mask.block_tokens;
  const int q0 = queries.start / size, k0 = keys.start / size;
  const int q_blocks = queries.at(real - 1) / size - q0 + 1;
  const int k_blocks = keys.at(keys.count - 1) / size - k0 + 1;
  const int q_units = min(q_blocks, real), k_units = min(k_blocks, keys.count);
  bool selected = false, dropped = false;
#pragma unroll 1
  for (int unit = static_cast<int>(threadIdx.x) & 31; unit < q_units * k_units; unit += 32) {
    const int q = unit / k_units, k = unit % k_units;
    const int query_block = q_units == q_blocks ? q0 + q : queries.at(q) / size;
    const int key_block = k_units == k_blocks ? k0 + k : keys.at(k) / size;
    if (key_block > query_block) continue;
    const bool selects = mask.blocks.Selects(query_block, key_block);
    selected = selected || selects;
    dropped = dropped || !selects;
  }
  if (!__any_sync(0xffffffffu, selected)) return Visibility::kNone;
  return __any_sync(0xffffffffu, dropped) ? Visibility::kBlocks : Visibility::kRanges;
}

// kNone and kAll are never wrong. Requires keys.count > 0 and, without kPatterns, that the mask is
// no block pattern.
template <bool kPatterns = true>
__device__ __forceinline__ Visibility WarpVisibility(const DeviceMask& mask, const Tile& queries,
                                                     const QueryBounds& bounds, const Tile& keys) {
  const int first = keys.start, last = keys.at(keys.count - 1);
  if (bounds.real == 0 || first > bounds.high_last || last < bounds.low_first) {
    return Visibility::kNone;
  }
  const bool all =
      bounds.real == queries.count && bounds.high_first <= first && last <= bounds.low_last;
  if (!kPatterns || mask.kind != MaskKind::kBlockSparse) {
    return all ? Visibility::kAll : Visibility::kRanges;
  }
  const Visibility blocks = WarpBlocksVisibility(mask, queries, bounds.real, keys);
  return all && blocks == Visibility::kRanges ? Visibility::kAll : blocks;
}

// Whether the block pattern selects a pair.
__device__ __forceinline__ bool Selects(const DeviceMask& mask, int query, int key) {
  return mask.blocks.Selects(query / mask.block_tokens, key / mask.block_tokens);
}

// Those keys of a tile, by index, that a range holds: [begin, end).
struct KeyColumns {
  int begin;
  int end;

  __device__ __forceinline__ KeyColumns(const KeyRange& range, const Tile& keys) {
    begin =
        range.first <= keys.start ? 0 : (range.first - keys.start + keys.stride - 1) / keys.stride;
    end =
        range.last < keys.start ? 0 : min(keys.count, (range.last - keys.start) / keys.stride + 1);
  }
  __device__ __forceinline__ bool Has(int column) const { return begin <= column && column < end; }
};

// A tile to be computed. Visibility kNone: there is no more.
struct VisibleTile {
  Tile tile;
  Visibility visibility = Visibility::kNone;
};

// Tiles [begin, end) of a run.
struct TileInterval {
  int begin = 0;
  int end = 0;
};

// Those of a run of keys that WarpVisibility() does not call kNone, but for block patterns.
__device__ __forceinline__ TileInterval KeyTilesWithin(const QueryBounds& bounds,
                                                       const TileTable::Run& run, int size) {
  const int last = run.start + (run.count - 1) * run.stride;
  if (bounds.real == 0 || bounds.high_last < run.start || bounds.low_first > last) return {};
  const int first = (max(0, bounds.low_first - run.start) + run.stride - 1) / run.stride;
  return {first / size, min(run.count - 1, (bounds.high_last - run.start) / run.stride) / size + 1};
}

// The tiles of keys that some query of a tile attends to, in ascending order. Without kPatterns,
// for masks that are no block pattern: it takes few registers.
template <bool kPatterns = true>
class KeyTileWalk {
 public:
  __device__ __forceinline__ KeyTileWalk(const DeviceMask& mask, const Tile& queries,
                                         const TileTable& keys, int size)
      : mask_(mask), queries_(queries), bounds_(mask, queries), keys_(keys), size_(size) {}

  __device__ __forceinline__ VisibleTile WarpNext() {
    while (true) {
      while (tile_ >= end_) {
        if (run_ == keys_.runs) return {};
        const TileInterval within = KeyTilesWithin(bounds_, keys_.run[run_++], size_);
        tile_ = within.begin;
        end_ = within.end;
      }
      const Tile keys = TileOf(keys_.run[run_ - 1], tile_++, size_);
      const Visibility visibility = WarpVisibility<kPatterns>(mask_, queries_, bounds_, keys);
      if (visibility != Visibility::kNone) return {keys, visibility};
    }
  }

 private:
  const DeviceMask& mask_;
  const Tile& queries_;
  const QueryBounds bounds_;
  const TileTable& keys_;
  const int size_;
  int run_ = 0, tile_ = 0, end_ = 0;
};

// The tiles of queries that attend to some key of a tile, in ascending order; kPatterns as above.
template <bool kPatterns = true>
class QueryTileWalk {
 public:
  __device__ __forceinline__ QueryTileWalk(const DeviceMask& mask, const Tile& keys,
                                           const TileTable& queries, int size)
      : mask_(mask), keys_(keys), queries_(queries), size_(size) {}

  // To be walked again, for the next head.
  __device__ __forceinline__ void Restart() { run_ = tile_ = end_ = 0; }

  __device__ __forceinline__ VisibleTile WarpNext() {
    while (true) {
      while (tile_ >= end_) {
        if (run_ == queries_.runs) return {};
        EnterRun(queries_.run[run_++]);
      }
      const Tile queries = TileOf(queries_.run[run_ - 1], tile_++, size_);
      const Visibility visibility =
          WarpVisibility<kPatterns>(mask_, queries, QueryBounds(mask_, queries), keys_);
      if (visibility != Visibility::kNone) return {queries, visibility};
    }
  }

 private:
  // First query of the run whose range ends at or past the tile's first key.
  // With `past`: whose range begins past the tile's last key. Padding counts as both.
  __device__ __forceinline__ int Bisect(const TileTable::Run& run, bool past) const {
    int low = 0, high = run.count;
    while (low < high) {
      const int middle = (low + high) / 2, position = run.start + middle * run.stride;
      const KeyRange range = KeysOf(mask_, position, run.token + middle);
      const bool found = position >= mask_.length || (past ? range.first > keys_.at(keys_.count - 1)
                                                           : range.last >= keys_.start);
      if (found) {
        high = middle;
      } else {
        low = middle + 1;
      }
    }
    return low;
  }

  __device__ __forceinline__ void EnterRun(const TileTable::Run& run) {
    tile_ = Bisect(run, false) / size_;
    end_ = (Bisect(run, true) + size_ - 1) / size_;
  }

  const DeviceMask& mask_;
  const Tile& keys_;
  const TileTable& queries_;
  const int size_;
  int run_ = 0, tile_ = 0, end_ = 0;
};

}  // namespace annulus::kernels::cuda
