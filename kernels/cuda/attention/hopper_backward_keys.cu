// Gradients of keys and values on Hopper (wgmma, TMA, a producer warp).
//
// Tiling: a block has 128 keys of one key/value head to itself, 64 to a consumer warpgroup with dK
// and dV in registers over the whole walk: all query heads that read the head, and of each the
// tiles of 64 queries that see the keys. Scores stand transposed, a row per key, and are the left
// operand of both gradients from the registers that they were computed in. The producer leaves each
// query's lse and delta beside its tile. dV is computed while dS is made of dP; what else is not
// products in one consumer is covered by the products of the other. FLOPs: 8 D per (query, key) of
// a tile. Bytes per block: 4 * 128 D of K and V; 4 D + 8 per query that passes, from L2; 16 * 128 D
// of dK and dV. Shared memory: 2 D (2 * 128 + 4 * 64) and 2.5 KiB: 131 KiB at D = 128, 67 at 64.
// Registers: dK and dV D, S and dP 64, packed 32, of 240 per consumer thread.
#include "kernels/cuda/attention/hopper_backward.h"
#include "kernels/cuda/attention/key_rows.h"

namespace annulus::kernels::cuda {
namespace {

// After the tiles in shared memory.
template <class Shape>
struct Notes {
  BackwardBarriers barriers;
  Visibility visibility[kStages];  // kNone: the walk is over
  QueryRows<Shape::kPassing> rows[kStages];
};

struct Work {
  int kv_head;
  int batch;
  Tile keys;
};

template <class Shape>
__device__ __forceinline__ void Produce(const BackwardFold<BFloat16>& p, const BackwardMaps& maps,
                                        const Work& work, const BackwardRoom<Shape>& room,
                                        Notes<Shape>& notes) {
  const FoldShape& s = p.shape;
  const int lane = Lane().lane;
  if (lane == 0) {
    room.FetchStaying(maps, {work.kv_head * s.head_dim, work.keys.token, work.batch},
                      At(notes.barriers.full_staying));
  }
  GroupWalk<false> walk(p, work.keys, Shape::kPassing);
  for (RingPlace at;; at.Advance()) {
    const GroupWalk<false>::Step step = walk.WarpNext();
    const Tile& queries = step.queries.tile;
    const int head = work.kv_head * s.group + step.head_in_group;
    const uint32_t full = At(notes.barriers.full[at.stage]);
    ptx::MbarrierWait(At(notes.barriers.empty[at.stage]), at.round ^ 1);
    if (step.queries.visibility == Visibility::kNone) {
      if (lane == 0) {
        notes.visibility[at.stage] = step.queries.visibility;
        ptx::MbarrierArrive(full);
      }
      return;
    }
    const int64_t row = RowIndex(s, work.batch, head, queries.token);
    for (int i = lane; i < Shape::kPassing; i += 32) notes.rows[at.stage].Fill(p, row, queries, i);
    __syncwarp();  // the leader's arrival speaks for the rows of all lanes
    if (lane == 0) {
      notes.visibility[at.stage] = step.queries.visibility;
      room.FetchPassing(maps, {head * s.head_dim, queries.token, work.batch}, at.stage, full);
    }
  }
}

template <class Shape>
__device__ __forceinline__ void Consume(const BackwardFold<BFloat16>& p, const Work& work,
                                        const BackwardRoom<Shape>& room, Notes<Shape>& notes,
                                        int consumer) {
  constexpr int kDim = Shape::kDim, kPassing = Shape::kPassing;
  const int first_key = consumer * 64 + static_cast<int>(threadIdx.x) % kWarpgroup / 32 * 16;
  const float scale2 = p.shape.scale * kLog2E;
  const TwoKeys keys(work.keys, first_key);
  float dk[kDim / 8][4], dv[kDim / 8][4], s[kPassing / 8][4], dp[kPassing / 8][4];
  uint32_t weights[kPassing / 16][4], gradients[kPassing / 16][4];
  Clear(dk);
  Clear(dv);
  // Even without queries: no copy may be under way when a block ends.
  ptx::MbarrierWait(At(notes.barriers.full_staying), 0);
  for (RingPlace at;; at.Advance()) {
    ptx::MbarrierWait(At(notes.barriers.full[at.stage]), at.round);
    const Visibility visibility = notes.visibility[at.stage];
    if (visibility == Visibility::kNone) break;
    const QueryRows<kPassing>& rows = notes.rows[at.stage];
    room.StartScores(consumer, at.stage, s, dp);
    ptx::WgmmaWait<1>(Flat(s));
    MaskKeyRows<false, kPassing>(p.mask, keys, rows, visibility, s);
    ToWeights<kPassing>(rows, scale2, s);
    ptx::WgmmaWait<0>(Flat(dp));
    ToScoreGradients<kPassing>(rows, s, dp);
    PackRows(s, weights);
    PackRows(dp, gradients);
    ptx::WgmmaFence();
    StartAddTimesTile<kDim, kPassing>(dv, weights, room.passing(1, at.stage));
    StartAddTimesTile<kDim, kPassing>(dk, gradients, room.passing(0, at.stage));
    ptx::WgmmaCommit();
    ptx::WgmmaWait<0>(Flat(dv));
    ptx::WgmmaWait<0>(Flat(dk));
    Release(notes.barriers.empty[at.stage]);
  }
  const TensorHead head = KeyHead(p.shape, work.batch, work.kv_head);
  const int token = work.keys.token + first_key, rows = work.keys.count - first_key;
  AddRows<kDim>(dk, p.shape.scale, p.dk, head, token, rows);
  AddRows<kDim>(dv, 1, p.dv, head, token, rows);
}

template <class Shape>
__global__ void __launch_bounds__(Shape::kThreads, 1)
    HopperBackwardKeysKernel(const __grid_constant__ BackwardFold<BFloat16> p,
                             const __grid_constant__ BackwardMaps maps) {
  DYNAMIC_SHARED(shared);
  auto& notes = *reinterpret_cast<Notes<Shape>*>(shared + Shape::kTileBytes);
  const BackwardRoom<Shape> room{ptx::SharedAddress(shared)};
  const Work work{static_cast<int>(blockIdx.y), static_cast<int>(blockIdx.z),
                  TileAt(p.keys, static_cast<int>(blockIdx.x), Shape::kStaying)};
  if (threadIdx.x == 0) notes.barriers.template Init<Shape>();
  __syncthreads();
  SplitWarpgroups<Shape>([&] { Produce<Shape>(p, maps, work, room, notes); },
                         [&](int warpgroup) { Consume<Shape>(p, work, room, notes, warpgroup); });
}

template <class Shape>
void Run(BackwardLaunch<BFloat16> launch) {
  launch.fold.queries = CutIntoTiles(launch.queries, Shape::kPassing);
  launch.fold.keys = CutIntoTiles(launch.keys, Shape::kStaying);
  Launch(HopperBackwardKeysKernel<Shape>,
         {.grid = dim3(static_cast<unsigned>(launch.fold.keys.tiles()),
                       static_cast<unsigned>(launch.fold.shape.kv_heads),
                       static_cast<unsigned>(launch.batch)),
          .block = Shape::kThreads,
          .shared_bytes = Shape::kTileBytes + static_cast<int64_t>(sizeof(Notes<Shape>))},
         launch.stream, "attention backward of keys (hopper)", launch.fold,
         MapBackward<Shape>(launch, true));
}

}  // namespace

void HopperBackwardKeys(const BackwardLaunch<BFloat16>& launch) {
  if (launch.fold.shape.head_dim == 64) {
    Run<HopperBackwardTiling<64>>(launch);
  } else {
    Run<HopperBackwardTiling<128>>(launch);
  }
}

void HopperBackwardFold(const BackwardLaunch<BFloat16>& launch) {
  HopperBackwardKeys(launch);
  HopperBackwardQueries(launch);
}

}  // namespace annulus::kernels::cuda
