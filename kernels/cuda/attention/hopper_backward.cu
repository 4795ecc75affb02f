// The backward pass on Hopper (wgmma, TMA, warps of different trades), all gradients in one walk.
//
// Tiling: a block has 128 keys of one key/value head to itself, 64 to a consumer warpgroup with dK
// and dV in registers over the whole walk: all query heads that read the head, and of each the
// tiles of 64 queries that see the keys. Scores stand transposed, a row per key, and are the left
// operand of both gradients from the registers that they were computed in. dV is computed while dS
// is made of dP. dS goes to shared memory, where both consumers' halves meet for dQ = dS K, which
// is computed behind dK. Of the last warpgroup one warp, the producer, fetches the tiles and leaves
// each query's lse and delta beside them; the other three add dQ to memory, in an order that is
// always the same (turns.h), while consumers go on.
//
// FLOPs: 10 D per (query, key) of a tile. Bytes per block: 4 * 128 D of K and V; 12 D + 8 per
// query that passes, of them 8 D a sum in L2; 16 * 128 D of dK and dV. Shared memory: 197 KiB at D
// = 128, 117 at 64. Registers: dK and dV D, S and dP 64, packed 16, dQ 32 in place of S, of 240 per
// consumer thread. (Tiles of 128 queries at D = 64 spill, and wgmma is serialised.)
//
// Rejected: a second kernel for dQ, which computes S and dP once more, 14 D instead of 10 D.
#include <algorithm>

#include "kernels/cuda/attention/hopper_backward.h"
#include "kernels/cuda/attention/hopper_query_sums.h"
#include "kernels/cuda/launch.h"

namespace annulus::kernels::cuda {
namespace {

constexpr int kConsumersMeet = 1;  // a barrier

template <class Shape>
__device__ __forceinline__ void Produce(const BackwardFold<BFloat16>& p, const BackwardMaps& maps,
                                        const BackwardRoom<Shape>& room,
                                        BackwardNotes<Shape>& notes) {
  const FoldShape& s = p.shape;
  const KeyWork& work = notes.work;
  const Tile& keys = notes.keys;
  const int lane = Lane().lane;
  if (lane == 0) {
    room.FetchKeys(maps, {work.kv_head * s.head_dim, keys.token, work.batch}, At(notes.full_keys));
  }
  GroupWalk<false> walk(p, keys, Shape::kQueries);
  for (uint32_t passed = 0;; ++passed) {
    const RingPlace at(passed);
    const GroupWalk<false>::Step step = walk.WarpNext();
    const Tile& queries = step.queries.tile;
    const int head = work.kv_head * s.group + step.head_in_group;
    const uint32_t full = At(notes.full[at.stage]);
    ptx::MbarrierWait(At(notes.empty[at.stage]), at.round ^ 1);
    if (step.queries.visibility == Visibility::kNone) {
      if (lane == 0) {
        notes.visibility[at.stage] = step.queries.visibility;
        ptx::MbarrierArrive(full);
        for (uint32_t w = 0; w < Shape::kWriters; ++w) notes.Leave(passed + w, {});
      }
      return;
    }
    const int64_t row = RowIndex(s, work.batch, head, queries.token);
    for (int i = lane; i < Shape::kQueries; i += 32) notes.rows[at.stage].Fill(p, row, queries, i);
    __syncwarp();  // the leader's arrival speaks for the rows of all lanes
    if (lane == 0) {
      // Keys that do not exist are masked by ranges.
      const bool whole = keys.count == Shape::kKeys;
      notes.visibility[at.stage] = whole ? step.queries.visibility : Visibility::kRanges;
      notes.Leave(passed, {.queries = queries, .row = row});
      room.FetchQueries(maps, {head * s.head_dim, queries.token, work.batch}, at.stage, full);
    }
  }
}

template <class Shape>
__device__ __forceinline__ void Consume(const BackwardFold<BFloat16>& p, unsigned char* shared,
                                        BackwardNotes<Shape>& notes, int consumer) {
  constexpr int kDim = Shape::kDim, kKeys = Shape::kKeys, kQueries = Shape::kQueries;
  const BackwardRoom<Shape> room{ptx::SharedAddress(shared)};
  const int first_key = consumer * 64 + static_cast<int>(threadIdx.x) % kWarpgroup / 32 * 16;
  const uint32_t own_rows = static_cast<uint32_t>(consumer) * 64 * kBoxRowBytes;
  float dk[kDim / 8][4], dv[kDim / 8][4], s[kQueries / 8][4], dp[kQueries / 8][4];
  uint32_t weights[kQueries / 16][4], gradients[kQueries / 16][4];
  QuerySums<Shape> sums(consumer, shared);
  Clear(dk);
  Clear(dv);
  // Even without queries: no copy may be under way when a block ends.
  ptx::MbarrierWait(At(notes.full_keys), 0);
  for (uint32_t tile = 0;; ++tile) {
    const RingPlace at(tile);
    ptx::MbarrierWait(At(notes.full[at.stage]), at.round);
    const Visibility visibility = notes.visibility[at.stage];
    if (visibility == Visibility::kNone) break;
    const QueryRows<kQueries>& rows = notes.rows[at.stage];
    const uint32_t q = room.q(at.stage), dout = room.dout(at.stage);
    ptx::WgmmaFence();
    StartRowsTimesRows<kDim, kKeys, kQueries>(s, room.k() + own_rows, q);
    ptx::WgmmaCommit();
    StartRowsTimesRows<kDim, kKeys, kQueries>(dp, room.v() + own_rows, dout);
    ptx::WgmmaCommit();
    ptx::WgmmaWait<1>(Flat(s));
    if (visibility != Visibility::kAll) {
      MaskKeyRows<false, kQueries>(p.mask, TwoKeys(notes.keys, first_key), rows, visibility, s);
    }
    ToWeights<kQueries>(rows, p.shape.scale * kLog2E, s);
    PackRows(s, weights);
    ptx::WgmmaFence();
    StartAddTimesTile<kDim, kQueries>(dv, weights, dout);
    ptx::WgmmaCommit();
    ptx::WgmmaWait<1>(Flat(dp));
    ToScoreGradients<kQueries>(rows, s, dp);
    PackRows(dp, gradients);
    StoreScoreGradients<Shape>(gradients, first_key, room.gradients(at.stage));
    ptx::FenceProxyAsync();
    ptx::WgmmaFence();
    StartAddTimesTile<kDim, kQueries>(dk, gradients, q);
    ptx::WgmmaCommit();
    ptx::BarSync(kConsumersMeet, kWarpgroup * Shape::kConsumers);
    if (sums.Computes(at.stage)) {
      sums.Start(room, at.stage);
      ptx::WgmmaWait<1>(Flat(dv));
      ptx::WgmmaWait<1>(Flat(dk));
      Release(notes.empty[at.stage]);
      sums.Give(p.shape.scale, room, tile, notes);
    } else {
      ptx::WgmmaWait<0>(Flat(dv));
      ptx::WgmmaWait<0>(Flat(dk));
      Release(notes.empty[at.stage]);
    }
  }
  const TensorHead head = KeyHead(p.shape, notes.work.batch, notes.work.kv_head);
  const int token = notes.keys.token + first_key, rows = notes.keys.count - first_key;
  AddRows<kDim>(dk, p.shape.scale, p.dk, head, token, rows);
  AddRows<kDim>(dv, 1, p.dv, head, token, rows);
}

template <class Shape>
__global__ void __launch_bounds__(Shape::kThreads, 1)
    HopperBackwardKernel(const __grid_constant__ BackwardFold<BFloat16> p,
                         const __grid_constant__ BackwardMaps maps,
                         const __grid_constant__ KeyDraws draws) {
  DYNAMIC_SHARED(shared);
  auto& notes = *reinterpret_cast<BackwardNotes<Shape>*>(shared + Shape::kTileBytes);
  const BackwardRoom<Shape> room{ptx::SharedAddress(shared)};
  if (threadIdx.x == 0) {
    notes.Init();
    notes.work = WorkOf(atomicInc(p.turns.drawn, gridDim.x - 1), draws);
    notes.keys = TileAt(p.keys, notes.work.key_tile, Shape::kKeys);
  }
  __syncthreads();
  SplitWarpgroups<Shape>(
      [&](int warp) {
        if (warp == 0) {
          Produce<Shape>(p, maps, room, notes);
        } else {
          WriteQuerySums<Shape>(p, room.sums(), notes, static_cast<uint32_t>(warp) - 1);
        }
      },
      [&](int warpgroup) { Consume<Shape>(p, shared, notes, warpgroup); });
}

// Heads whose queries are at hand in L2 at once. The fewer, the longer is the line of blocks that
// wait for their turn at a tile of queries where all keys are seen by all.
int HeadsAtOnce(const FoldShape& s, int batch) {
  constexpr int64_t kBytes = int64_t{24} << 20;  // half of the smallest Hopper's
  const int64_t head = int64_t{s.group} * s.query_tokens * s.head_dim * 8;  // Q, dO, dQ
  return static_cast<int>(std::clamp<int64_t>(kBytes / head, 1, int64_t{batch} * s.kv_heads));
}

template <class Shape>
void Run(BackwardLaunch<BFloat16> launch) {
  BackwardFold<BFloat16>& fold = launch.fold;
  fold.queries = CutIntoTiles(launch.queries, Shape::kQueries);
  fold.keys = CutIntoTiles(launch.keys, Shape::kKeys);
  const KeyDraws draws{.key_tiles = fold.keys.tiles(),
                       .kv_heads = fold.shape.kv_heads,
                       .batch = launch.batch,
                       .heads_at_once = HeadsAtOnce(fold.shape, launch.batch)};
  Launch(HopperBackwardKernel<Shape>,
         {.grid = dim3(static_cast<unsigned>(draws.count())),
          .block = Shape::kThreads,
          .shared_bytes = Shape::kTileBytes + static_cast<int64_t>(sizeof(BackwardNotes<Shape>))},
         launch.stream, "attention backward (hopper)", fold, MapBackward<Shape>(launch), draws);
}

}  // namespace

void HopperBackwardFold(const BackwardLaunch<BFloat16>& launch) {
  if (launch.fold.shape.head_dim == 64) {
    Run<HopperBackwardTiling<64>>(launch);
  } else {
    Run<HopperBackwardTiling<128>>(launch);
  }
}

}  // namespace annulus::kernels::cuda
