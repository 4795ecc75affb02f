// Forward folds on bf16 tensor cores, sm_80 and later (Dao 2023, FlashAttention-2).
//
// Tiling: a block takes 128 queries of one head (64 at D = 64), a warp 16 of them with its rows of
// S, P and O in registers; it walks the tiles of 64 keys that the mask lets it see, two of them in
// shared memory, the next one on its way (cp.async) while the last one is computed. The longest
// walks of a causal mask start first. FLOPs: 4 D per (query, key) of a tile. Bytes per block: 2 D
// per query; 2 * 2 * 64 D of K and V per tile, mostly from L2, as the blocks of a head run side by
// side; of state 4 D per query read after a fold that saw keys, 4 D written, by the last fold 2 D
// of outputs instead. Shared memory: 96 KiB at D = 128, 40 at 64: within what sm_86 and
// sm_89 have, too. Registers: O D / 2, S 32, P 16: one block of 8 warps to a multiprocessor at D =
// 128, two of 4 warps at 64.
#include "kernels/cuda/attention/folds.h"
#include "kernels/cuda/attention/online_softmax.h"
#include "kernels/cuda/launch.h"

namespace annulus::kernels::cuda {
namespace {

template <int kDimension>
struct Tiling {
  static constexpr int kDim = kDimension;
  static constexpr int kQueries = kDim <= 64 ? 64 : 128;
  static constexpr int kKeys = 64;
  static constexpr int kThreads = kQueries / 16 * 32;
  static constexpr uint32_t kQueryBytes = kQueries * kDim * 2;
  static constexpr uint32_t kKeyBytes = kKeys * kDim * 2;
  static constexpr int kSharedBytes = kQueryBytes + 4 * kKeyBytes;
  static constexpr int kBlocks = kDim <= 64 ? 2 : 1;  // to a multiprocessor
};

// Starts copying the keys and values of a tile.
template <class Shape>
__device__ __forceinline__ void StartKeys(const ForwardFold<BFloat16>& p, const TensorHead& at,
                                          const Tile& tile, uint32_t to) {
  StartTile<Shape::kDim, Shape::kKeys, Shape::kThreads>(to, at.Rows(p.k, tile.token, tile.count));
  StartTile<Shape::kDim, Shape::kKeys, Shape::kThreads>(to + Shape::kKeyBytes,
                                                        at.Rows(p.v, tile.token, tile.count));
}

template <class Shape>
__global__ void __launch_bounds__(Shape::kThreads, Shape::kBlocks)
    MmaForwardKernel(const __grid_constant__ ForwardFold<BFloat16> p) {
  DYNAMIC_SHARED(shared);
  const int head = static_cast<int>(blockIdx.y), batch = static_cast<int>(blockIdx.z);
  const int first_row = static_cast<int>(threadIdx.x) / 32 * 16;
  const Tile queries =
      TileAt(p.queries, static_cast<int>(gridDim.x - 1 - blockIdx.x), Shape::kQueries);
  KeyTileWalk<> walk(p.mask, queries, p.keys, Shape::kKeys);
  VisibleTile keys = walk.WarpNext();
  const bool any = keys.visibility != Visibility::kNone, last = p.outputs.lse != nullptr;
  if (!any && !last) return;

  const uint32_t q = ptx::SharedAddress(shared), stages = q + Shape::kQueryBytes;
  const TensorHead query_head = QueryHead(p.shape, batch, head);
  const TensorHead key_head = KeyHead(p.shape, batch, head / p.shape.group);
  if (any) {
    StartTile<Shape::kDim, Shape::kQueries, Shape::kThreads>(
        q, query_head.Rows(p.q, queries.token, queries.count));
    StartKeys<Shape>(p, key_head, keys.tile, stages);
    ptx::CpAsyncCommit();
  }

  const RowBlock block{RowIndex(p.shape, batch, head, queries.token + first_row),
                       queries.count - first_row, p.shape.head_dim};
  RunningRows<Shape::kDim> state;
  state.Load(p.out, p.max, p.sum, block);
  const TwoRows rows(p.mask, queries, first_row);
  const float scale2 = p.shape.scale * kLog2E;

  for (uint32_t stage = 0; keys.visibility != Visibility::kNone; stage ^= 1) {
    ptx::CpAsyncWait<0>();
    __syncthreads();  // this tile is there for all, and the other stage is done with by all
    const VisibleTile next = walk.WarpNext();
    if (next.visibility != Visibility::kNone) {
      StartKeys<Shape>(p, key_head, next.tile, stages + (stage ^ 1) * 2 * Shape::kKeyBytes);
      ptx::CpAsyncCommit();
    }
    const uint32_t k = stages + stage * 2 * Shape::kKeyBytes;
    float scores[Shape::kKeys / 8][4];
    Clear(scores);
    RowsTimesRows<Shape::kDim, Shape::kKeys>(scores, q, first_row, k);
    MaskScores(p.mask, rows, keys, scores);
    float factor[2];
    state.softmax.Take(scores, scale2, factor);
    ScaleRows(state.out, factor);
    uint32_t probabilities[Shape::kKeys / 16][4];
    PackRows(scores, probabilities);
    AddTimesTile<Shape::kDim>(state.out, probabilities, k + Shape::kKeyBytes);
    keys = next;
  }
  if (last) {
    state.Finish({p, batch, head, queries.token + first_row}, block);
  } else {
    state.Store(p.out, p.max, p.sum, block);
  }
}

template <class Shape>
void Run(ForwardLaunch<BFloat16> launch) {
  launch.fold.queries = CutIntoTiles(launch.queries, Shape::kQueries);
  launch.fold.keys = CutIntoTiles(launch.keys, Shape::kKeys);
  Launch(MmaForwardKernel<Shape>,
         {.grid = dim3(static_cast<unsigned>(launch.fold.queries.tiles()),
                       static_cast<unsigned>(launch.fold.shape.heads),
                       static_cast<unsigned>(launch.batch)),
          .block = Shape::kThreads,
          .shared_bytes = Shape::kSharedBytes},
         launch.stream, "attention forward (mma)", launch.fold);
}

}  // namespace

void MmaForwardFold(const ForwardLaunch<BFloat16>& launch) {
  if (launch.fold.shape.head_dim <= 64) {
    Run<Tiling<64>>(launch);
  } else {
    Run<Tiling<128>>(launch);
  }
}

}  // namespace annulus::kernels::cuda
