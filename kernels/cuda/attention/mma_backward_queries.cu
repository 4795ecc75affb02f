// The gradient of queries on bf16 tensor cores, sm_80 and later.
//
// Tiling: that of the forward pass, with dO beside Q and dQ in place of O: a block of 8 warps takes
// 128 queries of one head and walks the tiles of keys (64 at D = 64, 32 at 128) that the mask lets
// it see. It computes S and dP once more, where other kernels add dQ up by atomics while they
// compute dK and dV: 14 instead of 10 D FLOPs per (query, key) in the whole backward pass, for bits
// that are the same run after run and no traffic of partial sums. FLOPs: 6 D per (query, key) of a
// tile. Bytes per block: 4 * 128 D of Q and dO; 4 D per key that passes, from L2; 8 * 128 D of dQ.
// Shared memory: 96 KiB at D = 128, 64 at 64. Registers: dQ D / 2, S and dP kPassing.
#include "kernels/cuda/attention/mma_backward.h"
#include "kernels/cuda/attention/query_rows.h"
#include "kernels/cuda/launch.h"

namespace annulus::kernels::cuda {
namespace {

template <class Shape>
__global__ void __launch_bounds__(Shape::kThreads, 1)
    MmaBackwardQueriesKernel(const __grid_constant__ BackwardFold<BFloat16> p) {
  DYNAMIC_SHARED(shared);
  constexpr int kDim = Shape::kDim, kPassing = Shape::kPassing;
  const int head = static_cast<int>(blockIdx.y), batch = static_cast<int>(blockIdx.z);
  const int first_row = static_cast<int>(threadIdx.x) / 32 * 16;
  const Tile queries =
      TileAt(p.queries, static_cast<int>(gridDim.x - 1 - blockIdx.x), Shape::kStaying);
  KeyTileWalk<> walk(p.mask, queries, p.keys, kPassing);
  VisibleTile keys = walk.WarpNext();
  if (keys.visibility == Visibility::kNone) return;

  const uint32_t q = ptx::SharedAddress(shared), stages = q + 2 * Shape::kStayingBytes;
  const TensorHead key_head = KeyHead(p.shape, batch, head / p.shape.group);
  Shape::template Start<Shape::kStaying>(p.q, p.dout, QueryHead(p.shape, batch, head), queries, q);
  Shape::template Start<kPassing>(p.k, p.v, key_head, keys.tile, stages);
  ptx::CpAsyncCommit();

  const RowBlock block{RowIndex(p.shape, batch, head, queries.token + first_row),
                       queries.count - first_row, p.shape.head_dim};
  const TwoRows rows(p.mask, queries, first_row);
  const TwoGradientRows gradient_rows(p, block);
  const float scale2 = p.shape.scale * kLog2E;
  float dq[kDim / 8][4];
  Clear(dq);
  for (uint32_t stage = 0; keys.visibility != Visibility::kNone; stage ^= 1) {
    ptx::CpAsyncWait<0>();
    __syncthreads();  // this tile is there for all, and the other stage is done with by all
    const VisibleTile next = walk.WarpNext();
    if (next.visibility != Visibility::kNone) {
      Shape::template Start<kPassing>(p.k, p.v, key_head, next.tile,
                                      stages + (stage ^ 1) * 2 * Shape::kPassingBytes);
      ptx::CpAsyncCommit();
    }
    const uint32_t k = stages + stage * 2 * Shape::kPassingBytes;
    float s[kPassing / 8][4], dp[kPassing / 8][4];
    Clear(s);
    Clear(dp);
    RowsTimesRows<kDim, kPassing>(s, q, first_row, k);
    RowsTimesRows<kDim, kPassing>(dp, q + Shape::kStayingBytes, first_row,
                                  k + Shape::kPassingBytes);
    MaskScores(p.mask, rows, keys, s);
    gradient_rows.ToWeights(scale2, s);
    gradient_rows.ToScoreGradients(s, dp);
    uint32_t ds[kPassing / 16][4];
    PackRows(dp, ds);
    AddTimesTile<kDim>(dq, ds, k);
    keys = next;
  }
  AddQueryRows<kDim>(dq, p.shape.scale, p.dq, block);
}

template <class Shape>
void Run(BackwardLaunch<BFloat16> launch) {
  launch.fold.queries = CutIntoTiles(launch.queries, Shape::kStaying);
  launch.fold.keys = CutIntoTiles(launch.keys, Shape::kPassing);
  Launch(MmaBackwardQueriesKernel<Shape>,
         {.grid = dim3(static_cast<unsigned>(launch.fold.queries.tiles()),
                       static_cast<unsigned>(launch.fold.shape.heads),
                       static_cast<unsigned>(launch.batch)),
          .block = Shape::kThreads,
          .shared_bytes = Shape::kTileBytes},
         launch.stream, "attention backward of queries (mma)", launch.fold);
}

}  // namespace

void MmaBackwardQueries(const BackwardLaunch<BFloat16>& launch) {
  if (launch.fold.shape.head_dim <= 64) {
    Run<BackwardTiling<64>>(launch);
  } else {
    Run<BackwardTiling<128>>(launch);
  }
}

}  // namespace annulus::kernels::cuda
