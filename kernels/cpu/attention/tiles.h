// The arithmetic of fused attention on one tile: 64 queries x some hundred keys of one head.
//
// Each instruction set implements the table below once, in its own translation unit. This header
// has plain data only: an inline function here would be compiled with wide instructions by those
// units, and the linker might keep that copy for every CPU.
//
// The 64 queries of a strip live in vector lanes, so that the softmax runs down the lanes and no
// tile is ever transposed (P: probabilities, kv: keys, q: queries, d: head dim):
//   S^T[kv,q]  = K[kv,:] broadcast x Q^T[:,q]       dP^T[kv,q] = V[kv,:] broadcast x dO^T[:,q]
//   O^T[d,q]  += V[kv,d] broadcast x P^T[kv,q]      dQ^T[d,q] += K[kv,d] broadcast x dS^T[kv,q]
//   dV[kv,d]  += P^T[kv,q] broadcast x dO[q,d]      dK[kv,d]  += dS^T[kv,q] broadcast x Q[q,d]
// Operands are packed from the caller's rows. A table on f32 operands has one element to a 32-bit
// word, a table on bf16 operands two that follow each other along the dimension summed over; what
// is left over is zero. Sizes below are in words, and "dim words" are those of one row:
//   lanes   [64 / lanes][dim words][lanes]: the transposed strip; `lanes` is the set's own, a
//           divisor of 64. All per-query vectors (references, sums) are plain [64] f32.
//   rows    [key][dim words].
//   panels  V forward, K backward, summed over keys: groups of up to six columns,
//           [group][key words of the tile][columns of the group], or as the table likes best.
//   across  Q and dO backward, summed over queries: [query words][stride].
#pragma once

#include <cstdint>

namespace annulus::kernels::cpu {

inline constexpr int64_t kStripQueries = 64;

// How a caller's tensor stores its elements.
enum class Element : uint8_t { kF32, kBF16 };

// `count` rows of `dim` elements in a caller's tensor, `stride` elements apart.
struct Rows {
  const void* data;
  Element element;
  int64_t stride;
  int64_t count;
  int64_t dim;
};
struct MutableRows {
  void* data;
  Element element;
  int64_t stride;
  int64_t count;
  int64_t dim;
};

// Keys [begin, end) of a packed tile against one strip, both multiples of key_multiple.
struct KeySpan {
  int64_t begin;
  int64_t end;
  int64_t tile_keys;     // that the tile's panels have room for
  const uint64_t* bits;  // per key of the tile, bit i: query i attends to it; null: all do
};

struct ForwardTile {
  KeySpan keys;
  int64_t queries;  // of the strip that exist; the other lanes hold anything finite
  int64_t dim;
  float scale;           // of the logits, > 0
  const float* q;        // lanes
  const float* k;        // rows
  const float* v;        // panels
  float* out;            // f32 lanes of PaddedDim(dim), unnormalised
  float* reference;      // [64] score that exponentials are taken about; -inf: no key yet
  float* sum;            // [64]
  float* probabilities;  // scratch, [keys][64]
};

struct BackwardTile {
  KeySpan keys;
  int64_t queries;
  int64_t dim;
  int64_t across_stride;
  float scale;
  const float* q;            // lanes
  const float* dout;         // lanes
  const float* lse;          // [64]; +inf where no key is attended to
  const float* delta;        // [64], rowsum(dout * out)
  const float* q_across;     // across
  const float* dout_across;  // across
  const float* k;            // rows
  const float* v;            // rows
  const float* k_panels;     // panels
  float* probabilities;      // scratch, [keys][64]
  float* dscores;            // scratch, [keys][64]
  float* dq;                 // f32 lanes of PaddedDim(dim), accumulated without the factor scale
  float* dk;                 // f32 rows of PaddedDim(dim), accumulated without the factor scale
  float* dv;                 // f32 rows of PaddedDim(dim), accumulated
};

struct TileKernels {
  const char* isa;
  Element operand;       // of packed operands; bf16 ones serve bf16 tensors only
  int64_t dim_multiple;  // packed rows hold a multiple of so many elements
  int64_t key_multiple;  // spans begin and end at multiples of it

  void (*pack_lanes)(const Rows& from, float* lanes);
  // These two write a multiple of key_multiple of keys, zeros past from.count. The panels are those
  // of a tile of tile_keys, of which `from` begins at first_key; both multiples of key_multiple.
  void (*pack_rows)(const Rows& from, float* rows);
  void (*pack_panels)(const Rows& from, float* panels, int64_t tile_keys, int64_t first_key);
  void (*pack_across)(const Rows& from, float* across, int64_t stride);
  // Overwrites `to` with the transposed strip, each query's row times its factor.
  void (*unpack_lanes)(const float* lanes, const float* factor, const MutableRows& to);

  // Folds the keys into out, reference and sum.
  void (*fold)(const ForwardTile& tile);

  // Overwrites probabilities and dscores. The next two read them.
  void (*differentiate)(const BackwardTile& tile);
  void (*accumulate_dq)(const BackwardTile& tile);
  void (*accumulate_dkv)(const BackwardTile& tile);
};

extern const TileKernels kPortableTiles;
extern const TileKernels kAvx2Tiles;        // where built for x86-64
extern const TileKernels kAvx512Tiles;      // likewise
extern const TileKernels kAvx512Bf16Tiles;  // likewise
extern const TileKernels kAmxTiles;         // likewise

}  // namespace annulus::kernels::cpu
