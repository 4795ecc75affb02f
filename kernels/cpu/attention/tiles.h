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
// Three layouts serve as operands, packed from the caller's rows:
//   lanes   [64 / lanes][dim][lanes]: the transposed strip; `lanes` is the set's own, a divisor
//           of 64. All per-query vectors (references, sums) are plain [64].
//   rows    [row][stride]: contiguous rows, zero past `dim`.
//   panels  groups of up to six columns, [group][panel_rows][columns of the group].
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

// Keys [begin, end) of a packed tile against one strip.
struct KeySpan {
  int64_t begin;
  int64_t end;
  int64_t panel_rows;    // of the tile's panels
  const uint64_t* bits;  // per key of the tile, bit i: query i attends to it; null: all do
};

struct ForwardTile {
  KeySpan keys;
  int64_t queries;  // of the strip that exist; the other lanes hold anything finite
  int64_t dim;
  float scale;           // of the logits, > 0
  const float* q;        // lanes
  const float* k;        // rows, stride dim
  const float* v;        // panels
  float* out;            // lanes, unnormalised
  float* reference;      // [64] of the exponentials; -inf: no key yet
  float* sum;            // [64]
  float* probabilities;  // scratch, [keys][64]
};

struct BackwardTile {
  KeySpan keys;
  int64_t queries;
  int64_t dim;
  int64_t row_stride;       // of q_rows and dout_rows
  int64_t gradient_stride;  // of dk and dv
  float scale;
  const float* q;          // lanes
  const float* dout;       // lanes
  const float* lse;        // [64]; +inf where no key is attended to
  const float* delta;      // [64], rowsum(dout * out)
  const float* q_rows;     // rows
  const float* dout_rows;  // rows
  const float* k;          // rows, stride dim
  const float* v;          // rows, stride dim
  const float* k_panels;   // panels
  float* probabilities;    // scratch, [keys][64]
  float* dscores;          // scratch, [keys][64]
  float* dq;               // lanes, accumulated without the factor scale
  float* dk;               // rows, accumulated without the factor scale
  float* dv;               // rows, accumulated
};

struct TileKernels {
  const char* isa;

  void (*pack_lanes)(const Rows& from, float* lanes);
  void (*pack_rows)(const Rows& from, float* rows, int64_t row_stride);
  void (*pack_panels)(const Rows& from, float* panels, int64_t panel_rows);
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
extern const TileKernels kAvx2Tiles;    // where built for x86-64
extern const TileKernels kAvx512Tiles;  // likewise

}  // namespace annulus::kernels::cpu
