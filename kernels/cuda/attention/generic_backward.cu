// Backward folds by f32 FMAs: f32 problems, and bf16 ones that tensor cores have no tile for.
//
// Two kernels of one tiling, 64 queries x 64 keys in 256 threads: one has a tile of keys of one
// key/value head to itself and walks the queries of all heads that read it, for dK and dV; one has
// a tile of queries and walks the keys, for dQ. Either computes S and dP, summed over D in chunks
// of 32; gradients are made 64 of D at a time and live in memory, which fits any D. FLOPs per
// (query, key) of a tile: 8 D for keys, 6 D for queries. Bytes per tile and block: Q, K, V and dO
// once, dO and Q (K) once more, the gradients of 64 rows read and written. Shared memory: three
// (two) tiles of 64 x 68 f32, 51 (34) KiB. Registers: 3 x 16 products and 64 of operands.
#include "kernels/cuda/attention/generic_tile.h"
#include "kernels/cuda/launch.h"

namespace annulus::kernels::cuda {
namespace {

constexpr int64_t kTileBytes = kGenericTileFloats * static_cast<int64_t>(sizeof(float));

// One tile of queries of a head with one of keys.
struct Pairing {
  int batch;
  int head;
  Tile queries;
  Tile keys;
  Visibility visibility;
};

template <class T>
__device__ __forceinline__ GenericRows<const T> QueryRows(const BackwardFold<T>& p, const T* tensor,
                                                          const Pairing& at) {
  return {tensor,  p.shape.query_tokens, p.shape.heads,   at.batch,
          at.head, at.queries,           p.shape.head_dim};
}
template <class T>
__device__ __forceinline__ GenericRows<const T> KeyRows(const BackwardFold<T>& p, const T* tensor,
                                                        const Pairing& at) {
  return {tensor,  p.shape.key_tokens, p.shape.kv_heads, at.batch, at.head / p.shape.group,
          at.keys, p.shape.head_dim};
}

// Probabilities and the gradients of scores, scaled.
template <class T>
__device__ __forceinline__ void Recompute(const BackwardFold<T>& p, const Pairing& at, float* room,
                                          Products& weights, Products& gradients) {
  GenericRowsTimesRows(weights, QueryRows(p, p.q, at), KeyRows(p, p.k, at), room);
  GenericRowsTimesRows(gradients, QueryRows(p, p.dout, at), KeyRows(p, p.v, at), room);
  const GenericThread thread;
  const float scale = p.shape.scale, scale2 = scale * kLog2E;
  const int64_t first =
      (static_cast<int64_t>(at.batch) * p.shape.heads + at.head) * p.shape.query_tokens +
      at.queries.token;
  const unsigned allowed = GenericAllowed(p.mask, at.queries, {at.keys, at.visibility});
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const int row = 4 * thread.y + i;
    const bool exists = row < at.queries.count;
    const float lse2 = exists ? p.lse2[first + row] : INFINITY;
    const float delta = exists ? p.delta[first + row] : 0;
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      const bool is = (allowed >> (4 * i + j) & 1) != 0;
      weights[i][j] = is ? exp2f(weights[i][j] * scale2 - lse2) : 0;
      gradients[i][j] = weights[i][j] * (gradients[i][j] - delta) * scale;
    }
  }
}

// to[row][column], or [column][row] where `across`.
template <bool kAcross>
__device__ __forceinline__ void Keep(const Products& x, float* to) {
  const GenericThread at;
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const float4 four = kAcross ? float4{x[0][i], x[1][i], x[2][i], x[3][i]}
                                : float4{x[i][0], x[i][1], x[i][2], x[i][3]};
    const int row = kAcross ? 4 * at.x + i : 4 * at.y + i;
    *reinterpret_cast<float4*>(to + row * kGenericRow + (kAcross ? 4 * at.y : 4 * at.x)) = four;
  }
}

// to [row][begin + column] += x.
__device__ __forceinline__ void AddTo(const GenericRows<float>& to, int begin, const Products& x) {
  const GenericThread at;
  for (int i = 0; i < 4 && 4 * at.y + i < to.count; ++i) {
    float* row = to.data + (4 * at.y + i) * to.stride + begin + 4 * at.x;
    for (int j = 0; j < 4 && begin + 4 * at.x + j < to.dim; ++j) row[j] += x[i][j];
  }
}

template <class T>
__global__ void __launch_bounds__(kGenericThreads)
    GenericBackwardKeysKernel(const __grid_constant__ BackwardFold<T> p) {
  DYNAMIC_SHARED(shared);
  float* weights = reinterpret_cast<float*>(shared);
  float* gradients = weights + kGenericTileFloats;
  float* room = gradients + kGenericTileFloats;
  const FoldShape& s = p.shape;
  const int kv_head = static_cast<int>(blockIdx.y), batch = static_cast<int>(blockIdx.z);
  const Tile keys = TileAt(p.keys, static_cast<int>(blockIdx.x), kGenericTile);
  const auto rows_of = [&](float* tensor) {
    return GenericRows<float>(tensor, s.key_tokens, s.kv_heads, batch, kv_head, keys, s.head_dim);
  };
  const GenericRows<float> dk = rows_of(p.dk), dv = rows_of(p.dv);
  QueryTileWalk<> walk(p.mask, keys, p.queries, kGenericTile);
  for (int head = kv_head * s.group; head < (kv_head + 1) * s.group; ++head, walk.Restart()) {
    for (VisibleTile queries = walk.WarpNext(); queries.visibility != Visibility::kNone;
         queries = walk.WarpNext()) {
      const Pairing at{batch, head, queries.tile, keys, queries.visibility};
      Products w, g;
      Recompute(p, at, room, w, g);
      Keep<false>(w, weights);
      Keep<false>(g, gradients);
      ForEachWeightedSum(weights, QueryRows(p, p.dout, at), room,
                         [&](int d, const Products& sums) { AddTo(dv, d, sums); });
      ForEachWeightedSum(gradients, QueryRows(p, p.q, at), room,
                         [&](int d, const Products& sums) { AddTo(dk, d, sums); });
    }
  }
}

template <class T>
__global__ void __launch_bounds__(kGenericThreads)
    GenericBackwardQueriesKernel(const __grid_constant__ BackwardFold<T> p) {
  DYNAMIC_SHARED(shared);
  float* gradients = reinterpret_cast<float*>(shared);
  float* room = gradients + kGenericTileFloats;
  const FoldShape& s = p.shape;
  const int head = static_cast<int>(blockIdx.y), batch = static_cast<int>(blockIdx.z);
  const Tile queries =
      TileAt(p.queries, static_cast<int>(gridDim.x - 1 - blockIdx.x), kGenericTile);
  // dq is [B,H,T,D]: one head of B * H sequences.
  const GenericRows<float> dq(p.dq, s.query_tokens, 1, batch * s.heads + head, 0, queries,
                              s.head_dim);
  KeyTileWalk<> walk(p.mask, queries, p.keys, kGenericTile);
  for (VisibleTile keys = walk.WarpNext(); keys.visibility != Visibility::kNone;
       keys = walk.WarpNext()) {
    const Pairing at{batch, head, queries, keys.tile, keys.visibility};
    Products w, g;
    Recompute(p, at, room, w, g);
    Keep<true>(g, gradients);
    ForEachWeightedSum(gradients, KeyRows(p, p.k, at), room,
                       [&](int d, const Products& sums) { AddTo(dq, d, sums); });
  }
}

template <class T>
LaunchShape ShapeOf(const BackwardLaunch<T>& launch, int tiles, int heads, int shared_tiles) {
  return {.grid = dim3(static_cast<unsigned>(tiles), static_cast<unsigned>(heads),
                       static_cast<unsigned>(launch.batch)),
          .block = kGenericThreads,
          .shared_bytes = shared_tiles * kTileBytes};
}

}  // namespace

template <class T>
void GenericBackwardFold(const BackwardLaunch<T>& launch) {
  BackwardFold<T> fold = launch.fold;
  fold.queries = CutIntoTiles(launch.queries, kGenericTile);
  fold.keys = CutIntoTiles(launch.keys, kGenericTile);
  Launch(GenericBackwardKeysKernel<T>, ShapeOf(launch, fold.keys.tiles(), fold.shape.kv_heads, 3),
         launch.stream, "attention backward of keys (generic)", fold);
  Launch(GenericBackwardQueriesKernel<T>,
         ShapeOf(launch, fold.queries.tiles(), fold.shape.heads, 2), launch.stream,
         "attention backward of queries (generic)", fold);
}

template void GenericBackwardFold(const BackwardLaunch<float>&);
template void GenericBackwardFold(const BackwardLaunch<BFloat16>&);

}  // namespace annulus::kernels::cuda
