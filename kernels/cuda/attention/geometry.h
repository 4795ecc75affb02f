// How an attention is cut into tiles, as plain data that kernels take by value.
//
// Positions are 32 bits on the device. A tile is consecutive tokens of one run, so that position
// and token follow from an index by one multiplication; no tile crosses a run.
#pragma once

#include <cstdint>

#include "kernels/base/mask.h"
#include "kernels/base/ops.h"

namespace annulus::kernels::cuda {

// A sequence's local tokens cut into tiles of one size.
struct TileTable {
  struct Run {
    int start = 0;   // position of its first token
    int stride = 1;  // between positions
    int count = 0;   // tokens
    int token = 0;   // index of its first token among all local ones
    int tiles = 0;   // of this run and those before
  };
  int runs = 0;
  Run run[Positions::kMaxRuns];

  int tiles() const { return runs == 0 ? 0 : run[runs - 1].tiles; }
};

// Throws InternalError where a position does not fit 32 bits.
TileTable CutIntoTiles(const Positions& positions, int tile_tokens);

// A mask whose key ranges are functions of a query's position, or, for documents, memory.
struct DeviceMask {
  MaskKind kind = MaskKind::kCausal;
  int length = 0;
  int window = 0;
  int block_tokens = 1;
  BlockPattern blocks = {};
  const int* document_first = nullptr;  // [T] first position of each query's document
};

DeviceMask MakeDeviceMask(const Mask& mask, const int* document_first);

// The extents of one fold. Queries are [B,T,H,D], contiguous, keys [B,S,Hkv,D], each sequence
// contiguous; per-row vectors and f32 accumulators of queries are [B,H,T] and [B,H,T,D].
struct FoldShape {
  int heads = 1;
  int kv_heads = 1;
  int group = 1;  // query heads that read one key/value head
  int head_dim = 64;
  int query_tokens = 0;
  int key_tokens = 0;
  int key_rows = 0;  // [Hkv,D] from one sequence's first key to the next one's
  float scale = 1;

  explicit FoldShape(const AttentionProblem& problem);
  // `keys` are k, and v, dk and dv are like it.
  FoldShape(const AttentionProblem& problem, const ConstView& keys);
};

}  // namespace annulus::kernels::cuda
