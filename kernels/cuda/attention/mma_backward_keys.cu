// Gradients of keys and values on bf16 tensor cores, sm_80 and later (Dao 2023, FlashAttention-2).
//
// Tiling: a block of 8 warps has 128 keys of one key/value head to itself, so that nothing is added
// by two blocks; a warp has 16 of them, with dK and dV in registers over the whole walk: all query
// heads that read the head, and of each the tiles of queries (64 at D = 64, 32 at 128) that see the
// keys. Scores stand transposed, a row per key, and are the left operand of both gradients where
// they were computed: they never see memory.
// FLOPs: 8 D per (query, key) of a tile. Bytes per block: 4 * 128 D of K and V; 4 D + 8 per query
// that passes, from L2; 16 * 128 D of dK and dV read and written.
// Shared memory: 96 KiB at D = 128, 64 at 64, and 32 bytes per passing query. Registers: dK and dV
// D, S and dP kPassing: one block to a multiprocessor at D = 128.
#include "kernels/cuda/attention/key_rows.h"
#include "kernels/cuda/attention/mma_backward.h"
#include "kernels/cuda/launch.h"

namespace annulus::kernels::cuda {
namespace {

template <class Shape>
inline constexpr int64_t kSharedBytes =
    Shape::kTileBytes + 2 * static_cast<int64_t>(sizeof(QueryRows<Shape::kPassing>));

template <class Shape>
__global__ void __launch_bounds__(Shape::kThreads, 1)
    MmaBackwardKeysKernel(const __grid_constant__ BackwardFold<BFloat16> p) {
  DYNAMIC_SHARED(shared);
  constexpr int kDim = Shape::kDim, kPassing = Shape::kPassing;
  const int kv_head = static_cast<int>(blockIdx.y), batch = static_cast<int>(blockIdx.z);
  const int first_key = static_cast<int>(threadIdx.x) / 32 * 16;
  const Tile keys = TileAt(p.keys, static_cast<int>(blockIdx.x), Shape::kStaying);
  GroupWalk<> walk(p, keys, kPassing);
  GroupWalk<>::Step step = walk.WarpNext();
  if (step.queries.visibility == Visibility::kNone) return;

  const uint32_t k = ptx::SharedAddress(shared), stages = k + 2 * Shape::kStayingBytes;
  auto* rows = reinterpret_cast<QueryRows<kPassing>*>(shared + Shape::kTileBytes);
  const TensorHead key_head = KeyHead(p.shape, batch, kv_head);
  const auto start = [&](const GroupWalk<>::Step& next, uint32_t stage) {
    const int head = kv_head * p.shape.group + next.head_in_group;
    const Tile& tile = next.queries.tile;
    Shape::template Start<kPassing>(p.q, p.dout, QueryHead(p.shape, batch, head), tile,
                                    stages + stage * 2 * Shape::kPassingBytes);
    const int i = static_cast<int>(threadIdx.x);
    if (i < kPassing) rows[stage].Fill(p, RowIndex(p.shape, batch, head, tile.token), tile, i);
  };
  Shape::template Start<Shape::kStaying>(p.k, p.v, key_head, keys, k);
  start(step, 0);
  ptx::CpAsyncCommit();

  const TwoKeys positions(keys, first_key);
  float dk[kDim / 8][4], dv[kDim / 8][4];
  Clear(dk);
  Clear(dv);
  for (uint32_t stage = 0; step.queries.visibility != Visibility::kNone; stage ^= 1) {
    ptx::CpAsyncWait<0>();
    __syncthreads();  // this tile is there for all, and the other stage is done with by all
    const GroupWalk<>::Step next = walk.WarpNext();
    if (next.queries.visibility != Visibility::kNone) {
      start(next, stage ^ 1);
      ptx::CpAsyncCommit();
    }
    const uint32_t q = stages + stage * 2 * Shape::kPassingBytes, dout = q + Shape::kPassingBytes;
    float s[kPassing / 8][4], dp[kPassing / 8][4];
    uint32_t packed[kPassing / 16][4];
    Clear(s);
    Clear(dp);
    RowsTimesRows<kDim, kPassing>(s, k, first_key, q);
    RowsTimesRows<kDim, kPassing>(dp, k + Shape::kStayingBytes, first_key, dout);
    MaskKeyRows<true, kPassing>(p.mask, positions, rows[stage], step.queries.visibility, s);
    ToWeights<kPassing>(rows[stage], p.shape.scale * kLog2E, s);
    ToScoreGradients<kPassing>(rows[stage], s, dp);
    PackRows(s, packed);
    AddTimesTile<kDim>(dv, packed, dout);
    PackRows(dp, packed);
    AddTimesTile<kDim>(dk, packed, q);
    step = next;
  }
  AddRows<kDim>(dk, p.shape.scale, p.dk, key_head, keys.token + first_key, keys.count - first_key);
  AddRows<kDim>(dv, 1, p.dv, key_head, keys.token + first_key, keys.count - first_key);
}

template <class Shape>
void Run(BackwardLaunch<BFloat16> launch) {
  launch.fold.queries = CutIntoTiles(launch.queries, Shape::kPassing);
  launch.fold.keys = CutIntoTiles(launch.keys, Shape::kStaying);
  Launch(MmaBackwardKeysKernel<Shape>,
         {.grid = dim3(static_cast<unsigned>(launch.fold.keys.tiles()),
                       static_cast<unsigned>(launch.fold.shape.kv_heads),
                       static_cast<unsigned>(launch.batch)),
          .block = Shape::kThreads,
          .shared_bytes = kSharedBytes<Shape>},
         launch.stream, "attention backward of keys (mma)", launch.fold);
}

}  // namespace

void MmaBackwardKeys(const BackwardLaunch<BFloat16>& launch) {
  if (launch.fold.shape.head_dim <= 64) {
    Run<BackwardTiling<64>>(launch);
  } else {
    Run<BackwardTiling<128>>(launch);
  }
}

void MmaBackwardFold(const BackwardLaunch<BFloat16>& launch) {
  MmaBackwardKeys(launch);
  MmaBackwardQueries(launch);
}

}  // namespace annulus::kernels::cuda
