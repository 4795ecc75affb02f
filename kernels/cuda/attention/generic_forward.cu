// Forward folds by f32 FMAs: f32 problems, and bf16 ones that tensor cores have no tile for.
//
// Tiling: a block of 256 threads takes 64 queries of one head and walks the tiles of 64 keys that
// the mask lets it see. Scores are summed over D in chunks of 32; outputs are made 64 of D at a
// time and live in the state, in memory, which fits any D: 16 bytes of traffic, to L2 mostly, per
// 256 FLOPs. FLOPs: 4 D per (query, key) of a tile. Bytes per tile and block: Q and K once, V once,
// the outputs of 64 queries read and written, and read once more by the last fold, which writes
// them out. Shared memory: two tiles of 64 x 68 f32, 34 KiB. Registers: 2 x 16 products and 64 of
// operands.
#include "kernels/cuda/attention/generic_tile.h"
#include "kernels/cuda/attention/row_end.h"
#include "kernels/cuda/launch.h"

namespace annulus::kernels::cuda {
namespace {

constexpr int64_t kSharedBytes = 2 * kGenericTileFloats * static_cast<int64_t>(sizeof(float));

__device__ __forceinline__ float HalfWarpMax(float x) {
#pragma unroll
  for (int step = 8; step > 0; step /= 2) x = fmaxf(x, __shfl_xor_sync(0xffffffffu, x, step));
  return x;
}
__device__ __forceinline__ float HalfWarpSum(float x) {
#pragma unroll
  for (int step = 8; step > 0; step /= 2) x += __shfl_xor_sync(0xffffffffu, x, step);
  return x;
}

// Index in [B,H,T] of a tile's first row.
__device__ __forceinline__ int64_t FirstRow(const FoldShape& s, const Tile& queries, int batch,
                                            int head) {
  return (static_cast<int64_t>(batch) * s.heads + head) * s.query_tokens + queries.token;
}

// The running softmax of a thread's four rows, the same in all 16 threads of a row.
struct FourRows {
  float max[4];
  float sum[4];
  float factor[4];  // what outputs so far are to be multiplied by
  bool written[4];  // whether there are any

  template <class T>
  __device__ __forceinline__ FourRows(const ForwardFold<T>& p, const Tile& queries, int64_t first) {
    const GenericThread at;
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int row = 4 * at.y + i;
      const bool exists = row < queries.count;
      max[i] = exists ? p.max[first + row] : -INFINITY;
      sum[i] = exists ? p.sum[first + row] : 0;
    }
  }

  // Scores of base 2 to exponentials.
  __device__ __forceinline__ void Take(Products& s) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const float top = HalfWarpMax(fmaxf(fmaxf(s[i][0], s[i][1]), fmaxf(s[i][2], s[i][3])));
      const float next = fmaxf(max[i], top), reference = next == -INFINITY ? 0 : next;
      written[i] = max[i] != -INFINITY;
      factor[i] = exp2f(max[i] - reference);
      max[i] = next;
      float total = 0;
#pragma unroll
      for (int j = 0; j < 4; ++j) total += s[i][j] = exp2f(s[i][j] - reference);
      sum[i] = fmaf(sum[i], factor[i], HalfWarpSum(total));
    }
  }
};

// Writes out what a thread has in the state: the elements that it has folded into, and of rows
// without a tile those that it would have.
template <class T>
__device__ __forceinline__ void Finish(const ForwardFold<T>& p, const FourRows& rows,
                                       const Tile& queries, int batch, int head) {
  const GenericThread at;
  const FoldShape& s = p.shape;
  const GenericRows<T> out(p.outputs.out, s.query_tokens, s.heads, batch, head, queries,
                           s.head_dim);
  const int64_t first = FirstRow(s, queries, batch, head);
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const int row = 4 * at.y + i;
    if (row >= queries.count) continue;
    const RowEnd end(rows.max[i], rows.sum[i]);
    const float* from = p.out + (first + row) * s.head_dim;
    for (int d = 4 * at.x; d < s.head_dim; d += kGenericTile) {
      for (int j = d; j < min(d + 4, s.head_dim); ++j) {
        WriteFloat(end.any ? from[j] * end.factor : 0, out.data + row * out.stride + j);
      }
    }
    if (at.x == 0) p.outputs.lse[first + row] = end.lse;
  }
}

template <class T>
__global__ void __launch_bounds__(kGenericThreads)
    GenericForwardKernel(const __grid_constant__ ForwardFold<T> p) {
  DYNAMIC_SHARED(shared);
  float* weights = reinterpret_cast<float*>(shared);
  float* room = weights + kGenericTileFloats;
  const GenericThread at;
  const FoldShape& s = p.shape;
  const int head = static_cast<int>(blockIdx.y), batch = static_cast<int>(blockIdx.z);
  const Tile queries =
      TileAt(p.queries, static_cast<int>(gridDim.x - 1 - blockIdx.x), kGenericTile);
  const int64_t first = FirstRow(s, queries, batch, head);
  const GenericRows<const T> q(p.q, s.query_tokens, s.heads, batch, head, queries, s.head_dim);
  KeyTileWalk<> walk(p.mask, queries, p.keys, kGenericTile);
  VisibleTile keys = walk.WarpNext();
  // Without a tile there is no barrier between the reads of a row's state and its one writer, and
  // nothing to do but for the last fold, which does not write it.
  if (keys.visibility == Visibility::kNone && p.outputs.lse == nullptr) return;
  const float scale2 = s.scale * kLog2E;
  FourRows rows(p, queries, first);

  for (; keys.visibility != Visibility::kNone; keys = walk.WarpNext()) {
    const auto head_rows = [&](const T* tensor) {
      return GenericRows<const T>(tensor, s.key_rows, s.kv_heads, batch, head / s.group, keys.tile,
                                  s.head_dim);
    };
    Products scores;
    GenericRowsTimesRows(scores, q, head_rows(p.k), room);
    const unsigned allowed = GenericAllowed(p.mask, queries, keys);
#pragma unroll
    for (int i = 0; i < 16; ++i) {
      float& x = scores[i / 4][i % 4];
      x = (allowed >> i & 1) != 0 ? x * scale2 : -INFINITY;
    }
    rows.Take(scores);
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      *reinterpret_cast<float4*>(weights + (4 * at.x + j) * kGenericRow + 4 * at.y) =
          float4{scores[0][j], scores[1][j], scores[2][j], scores[3][j]};
    }
    ForEachWeightedSum(weights, head_rows(p.v), room, [&](int begin, const Products& sums) {
      for (int i = 0; i < 4; ++i) {
        if (4 * at.y + i >= queries.count) continue;
        float* out = p.out + (first + 4 * at.y + i) * s.head_dim + begin + 4 * at.x;
        for (int j = 0; j < 4 && begin + 4 * at.x + j < s.head_dim; ++j) {
          out[j] = rows.written[i] ? fmaf(out[j], rows.factor[i], sums[i][j]) : sums[i][j];
        }
      }
    });
  }
  if (p.outputs.lse != nullptr) return Finish(p, rows, queries, batch, head);
  if (at.x != 0) return;
  for (int i = 0; i < 4 && 4 * at.y + i < queries.count; ++i) {
    p.max[first + 4 * at.y + i] = rows.max[i];
    p.sum[first + 4 * at.y + i] = rows.sum[i];
  }
}

}  // namespace

template <class T>
void GenericForwardFold(const ForwardLaunch<T>& launch) {
  ForwardFold<T> fold = launch.fold;
  fold.queries = CutIntoTiles(launch.queries, kGenericTile);
  fold.keys = CutIntoTiles(launch.keys, kGenericTile);
  Launch(
      GenericForwardKernel<T>,
      {.grid = dim3(static_cast<unsigned>(fold.queries.tiles()),
                    static_cast<unsigned>(fold.shape.heads), static_cast<unsigned>(launch.batch)),
       .block = kGenericThreads,
       .shared_bytes = kSharedBytes},
      launch.stream, "attention forward (generic)", fold);
}

template void GenericForwardFold(const ForwardLaunch<float>&);
template void GenericForwardFold(const ForwardLaunch<BFloat16>&);

}  // namespace annulus::kernels::cuda
