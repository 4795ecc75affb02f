// The gradient of queries on Hopper (wgmma, TMA, a producer warp).
//
// Tiling: a block takes 128 queries of one head, 64 to a consumer warpgroup with dQ in registers,
// and walks the tiles of 64 keys that the mask lets it see. As in mma_backward_queries.cu, S and dP
// are computed once more, for bits that are the same run after run. dQ of a tile is computed while
// the scores of the next are waited for; what else is not products in one consumer is covered by
// the products of the other. FLOPs: 6 D per (query, key) of a tile. Bytes per block: 4 * 128 D of Q
// and dO; 4 D per key that passes, from L2; 8 * 128 D of dQ. Shared memory: 2 D (2 * 128 + 4 * 64):
// 128 KiB at D = 128, 64 at 64. Registers: dQ D / 2, S and dP 64, packed 16, of 240 per consumer
// thread.
#include "kernels/cuda/attention/hopper_backward.h"
#include "kernels/cuda/attention/query_rows.h"

namespace annulus::kernels::cuda {
namespace {

// After the tiles in shared memory.
struct Notes {
  BackwardBarriers barriers;
  VisibleTile tile[kStages];  // of keys; kNone: the walk is over
};

struct Work {
  int head;
  int batch;
  Tile queries;
};

template <class Shape>
__device__ __forceinline__ void Produce(const BackwardFold<BFloat16>& p, const BackwardMaps& maps,
                                        const Work& work, const BackwardRoom<Shape>& room,
                                        Notes& notes) {
  const FoldShape& s = p.shape;
  const bool leads = threadIdx.x % 32 == 0;
  if (leads) {
    room.FetchStaying(maps, {work.head * s.head_dim, work.queries.token, work.batch},
                      At(notes.barriers.full_staying));
  }
  const int column = work.head / s.group * s.head_dim;
  KeyTileWalk<false> walk(p.mask, work.queries, p.keys, Shape::kPassing);
  for (RingPlace at;; at.Advance()) {
    const VisibleTile next = walk.WarpNext();
    const bool ends = next.visibility == Visibility::kNone;
    if (leads) {
      const uint32_t full = At(notes.barriers.full[at.stage]);
      ptx::MbarrierWait(At(notes.barriers.empty[at.stage]), at.round ^ 1);
      notes.tile[at.stage] = next;
      if (ends) {
        ptx::MbarrierArrive(full);
      } else {
        room.FetchPassing(maps, {column, next.tile.token, work.batch}, at.stage, full);
      }
    }
    if (ends) return;
  }
}

template <class Shape>
__device__ __forceinline__ void Consume(const BackwardFold<BFloat16>& p, const Work& work,
                                        const BackwardRoom<Shape>& room, Notes& notes,
                                        int consumer) {
  constexpr int kDim = Shape::kDim, kPassing = Shape::kPassing;
  const int first_row = consumer * 64 + static_cast<int>(threadIdx.x) % kWarpgroup / 32 * 16;
  const RowBlock block{RowIndex(p.shape, work.batch, work.head, work.queries.token + first_row),
                       work.queries.count - first_row, p.shape.head_dim};
  const TwoRows rows(p.mask, work.queries, first_row);
  const TwoGradientRows gradient_rows(p, block);
  const float scale2 = p.shape.scale * kLog2E;
  float dq[kDim / 8][4], s[kPassing / 8][4], dp[kPassing / 8][4];
  uint32_t gradients[kPassing / 16][4];
  Clear(dq);
  // Even without keys: no copy may be under way when a block ends.
  ptx::MbarrierWait(At(notes.barriers.full_staying), 0);
  for (RingPlace at;; at.Advance()) {
    ptx::MbarrierWait(At(notes.barriers.full[at.stage]), at.round);
    const VisibleTile keys = notes.tile[at.stage];
    if (keys.visibility == Visibility::kNone) break;
    room.StartScores(consumer, at.stage, s, dp);
    ptx::WgmmaWait<1>(Flat(s));
    MaskScores<false>(p.mask, rows, keys, s);
    gradient_rows.ToWeights(scale2, s);
    ptx::WgmmaWait<0>(Flat(dp));
    gradient_rows.ToScoreGradients(s, dp);
    PackRows(dp, gradients);
    ptx::WgmmaFence();
    StartAddTimesTile<kDim, kPassing>(dq, gradients, room.passing(0, at.stage));
    ptx::WgmmaCommit();
    ptx::WgmmaWait<0>(Flat(dq));
    Release(notes.barriers.empty[at.stage]);
  }
  AddQueryRows<kDim>(dq, p.shape.scale, p.dq, block);
}

template <class Shape>
__global__ void __launch_bounds__(Shape::kThreads, 1)
    HopperBackwardQueriesKernel(const __grid_constant__ BackwardFold<BFloat16> p,
                                const __grid_constant__ BackwardMaps maps) {
  DYNAMIC_SHARED(shared);
  auto& notes = *reinterpret_cast<Notes*>(shared + Shape::kTileBytes);
  const BackwardRoom<Shape> room{ptx::SharedAddress(shared)};
  const Work work{static_cast<int>(blockIdx.y), static_cast<int>(blockIdx.z),
                  TileAt(p.queries, static_cast<int>(gridDim.x - 1 - blockIdx.x), Shape::kStaying)};
  if (threadIdx.x == 0) notes.barriers.template Init<Shape>();
  __syncthreads();
  SplitWarpgroups<Shape>([&] { Produce<Shape>(p, maps, work, room, notes); },
                         [&](int warpgroup) { Consume<Shape>(p, work, room, notes, warpgroup); });
}

template <class Shape>
void Run(BackwardLaunch<BFloat16> launch) {
  launch.fold.queries = CutIntoTiles(launch.queries, Shape::kStaying);
  launch.fold.keys = CutIntoTiles(launch.keys, Shape::kPassing);
  Launch(HopperBackwardQueriesKernel<Shape>,
         {.grid = dim3(static_cast<unsigned>(launch.fold.queries.tiles()),
                       static_cast<unsigned>(launch.fold.shape.heads),
                       static_cast<unsigned>(launch.batch)),
          .block = Shape::kThreads,
          .shared_bytes = Shape::kTileBytes + static_cast<int64_t>(sizeof(Notes))},
         launch.stream, "attention backward of queries (hopper)", launch.fold,
         MapBackward<Shape>(launch, false));
}

}  // namespace

void HopperBackwardQueries(const BackwardLaunch<BFloat16>& launch) {
  if (launch.fold.shape.head_dim == 64) {
    Run<HopperBackwardTiling<64>>(launch);
  } else {
    Run<HopperBackwardTiling<128>>(launch);
  }
}

}  // namespace annulus::kernels::cuda
