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
#include "kernels/cuda/attention/mma_backward.h"
#include "kernels/cuda/launch.h"

namespace annulus::kernels::cuda {
namespace {

// What the rows of a passing tile of queries say of each query.
template <int kPassing>
struct QueryRows {
  float lse2[kPassing];
  float delta[kPassing];
  int position[kPassing];
  int first_key[kPassing];
  int last_key[kPassing];

  // By the first threads of a block.
  __device__ __forceinline__ void Fill(const BackwardFold<BFloat16>& p, int64_t row,
                                       const Tile& queries) {
    const int i = static_cast<int>(threadIdx.x);
    if (i >= kPassing) return;
    const bool exists = i < queries.count;
    lse2[i] = exists ? p.lse2[row + i] : INFINITY;
    delta[i] = exists ? p.delta[row + i] : 0;
    const KeyRange range = KeysOf(p.mask, queries, i);
    position[i] = queries.at(i);
    first_key[i] = range.first;
    last_key[i] = range.last;
  }
};

template <class Shape>
inline constexpr int64_t kSharedBytes =
    Shape::kTileBytes + 2 * static_cast<int64_t>(sizeof(QueryRows<Shape::kPassing>));

// Walks the heads of a group and the tiles of queries of each.
class GroupWalk {
 public:
  __device__ __forceinline__ GroupWalk(const BackwardFold<BFloat16>& p, const Tile& keys, int size)
      : walk_(p.mask, keys, p.queries, size), heads_(p.shape.group) {}

  struct Step {
    VisibleTile queries;
    int head_in_group = 0;
  };
  __device__ __forceinline__ Step WarpNext() {
    while (head_ < heads_) {
      const VisibleTile tile = walk_.WarpNext();
      if (tile.visibility != Visibility::kNone) return {tile, head_};
      ++head_;
      walk_.Restart();
    }
    return {};
  }

 private:
  QueryTileWalk walk_;
  int heads_, head_ = 0;
};

// Scores [16 keys x kPassing queries] to -inf where the pair is not allowed.
template <int kPassing>
__device__ __forceinline__ void MaskKeyRows(const BackwardFold<BFloat16>& p, const Tile& keys,
                                            const QueryRows<kPassing>& rows, Visibility visibility,
                                            int first_key, float (&s)[kPassing / 8][4]) {
  if (visibility == Visibility::kAll) return;
  const int row = first_key + Lane().row;
  const int key[2] = {keys.at(row), keys.at(row + 8)};
  ForEachPair<kPassing / 8>([&](int n, int half, int, int column) {
#pragma unroll
    for (int e = 0; e < 2; ++e) {
      const KeyRange range{rows.first_key[column + e], rows.last_key[column + e]};
      if (!range.Has(key[half])) s[n][2 * half + e] = -INFINITY;
    }
  });
  if (visibility != Visibility::kBlocks) return;
  const uint64_t selected = BitsOf<kPassing / 8>([&](int half, int, int column) {
    return Selects(p.mask.blocks, rows.position[column], half == 0 ? key[0] : key[1]);
  });
#pragma unroll
  for (int i = 0; i < kPassing / 2; ++i) {
    if ((selected >> i & 1) == 0) s[i / 4][i % 4] = -INFINITY;
  }
}

// s and dp [16 keys x kPassing queries] to p and ds.
template <int kPassing>
__device__ __forceinline__ void ToGradients(const QueryRows<kPassing>& rows, float scale2,
                                            float (&s)[kPassing / 8][4],
                                            float (&dp)[kPassing / 8][4]) {
  ForEachPair<kPassing / 8>([&](int n, int half, int, int column) {
#pragma unroll
    for (int e = 0; e < 2; ++e) {
      ToGradient({rows.lse2[column + e], rows.delta[column + e]}, scale2, s[n][2 * half + e],
                 dp[n][2 * half + e]);
    }
  });
}

// to [S,Hkv,D] rows += factor * acc.
template <int kDim>
__device__ __forceinline__ void AddRows(const float (&acc)[kDim / 8][4], float factor, float* to,
                                        const TensorHead& at, int token, int rows) {
  const int64_t stride = static_cast<int64_t>(at.heads) * at.dim;
  float* first = to + (static_cast<int64_t>(at.batch) * at.tokens + token) * stride +
                 static_cast<int64_t>(at.head) * at.dim;
  ForEachPair<kDim / 8>([&](int n, int half, int row, int column) {
    if (row >= rows || column >= at.dim) return;
    auto* pair = reinterpret_cast<float2*>(first + row * stride + column);
    const float2 before = *pair;
    *pair = {fmaf(factor, acc[n][2 * half], before.x),
             fmaf(factor, acc[n][2 * half + 1], before.y)};
  });
}

template <class Shape>
__global__ void __launch_bounds__(Shape::kThreads, 1)
    MmaBackwardKeysKernel(const __grid_constant__ BackwardFold<BFloat16> p) {
  DYNAMIC_SHARED(shared);
  constexpr int kDim = Shape::kDim, kPassing = Shape::kPassing;
  const int kv_head = static_cast<int>(blockIdx.y), batch = static_cast<int>(blockIdx.z);
  const int first_key = static_cast<int>(threadIdx.x) / 32 * 16;
  const Tile keys = TileAt(p.keys, static_cast<int>(blockIdx.x), Shape::kStaying);
  GroupWalk walk(p, keys, kPassing);
  GroupWalk::Step step = walk.WarpNext();
  if (step.queries.visibility == Visibility::kNone) return;

  const uint32_t k = ptx::SharedAddress(shared), stages = k + 2 * Shape::kStayingBytes;
  auto* rows = reinterpret_cast<QueryRows<kPassing>*>(shared + Shape::kTileBytes);
  const TensorHead key_head = KeyHead(p.shape, batch, kv_head);
  const auto start = [&](const GroupWalk::Step& next, uint32_t stage) {
    const int head = kv_head * p.shape.group + next.head_in_group;
    const Tile& tile = next.queries.tile;
    Shape::template Start<kPassing>(p.q, p.dout, QueryHead(p.shape, batch, head), tile,
                                    stages + stage * 2 * Shape::kPassingBytes);
    rows[stage].Fill(p, RowIndex(p.shape, batch, head, tile.token), tile);
  };
  Shape::template Start<Shape::kStaying>(p.k, p.v, key_head, keys, k);
  start(step, 0);
  ptx::CpAsyncCommit();

  float dk[kDim / 8][4], dv[kDim / 8][4];
  Clear(dk);
  Clear(dv);
  for (uint32_t stage = 0; step.queries.visibility != Visibility::kNone; stage ^= 1) {
    ptx::CpAsyncWait<0>();
    __syncthreads();  // this tile is there for all, and the other stage is done with by all
    const GroupWalk::Step next = walk.WarpNext();
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
    MaskKeyRows<kPassing>(p, keys, rows[stage], step.queries.visibility, first_key, s);
    ToGradients<kPassing>(rows[stage], p.shape.scale * kLog2E, s, dp);
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
