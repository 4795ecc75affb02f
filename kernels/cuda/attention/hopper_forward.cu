// Forward folds on Hopper: wgmma, TMA, warps of different trades (Shah et al. 2024,
// FlashAttention-3).
//
// Tiling: a block takes queries of one head, 64 to each of two consumer warpgroups, or of three at
// D = 64, and walks the tiles of 128 keys that the mask lets it see; block patterns, which take
// registers to tell, are left to mma_forward.cu. One warp, the producer, finds the tiles and has
// the copy engine fetch them, two stages of K and of V; with each tile it leaves a note of where
// its keys sit and how visible they are. A consumer starts the scores of the next tile, then the
// outputs of the last, and takes exponentials of the former while the latter is computed; consumers
// take turns at starting products (named barriers), so that one's exponentials fill the time of the
// others' products. FLOPs: 4 D per (query, key) of a tile. Bytes per block: 2 D per query; 4 D per
// key from L2; of state 4 D per query read after a fold that saw keys, 4 D written, by the last
// fold 2 D of outputs instead. Shared memory: 2 D (64 per consumer + 4 * 128): 160 KiB at D = 128,
// 88 at 64. Registers: S 64, P 32, O D / 2 per consumer thread, of 240, or of 160 for three; the
// producer gives its own away.
#include "kernels/cuda/attention/folds.h"
#include "kernels/cuda/attention/hopper_pipeline.h"
#include "kernels/cuda/attention/hopper_tile.h"
#include "kernels/cuda/attention/online_softmax.h"
#include "kernels/cuda/launch.h"

namespace annulus::kernels::cuda {
namespace {

template <int kDimension>
struct Tiling {
  static constexpr int kDim = kDimension;
  static constexpr int kConsumers = kDim == 64 ? 3 : 2;  // warpgroups
  static constexpr int kQueries = 64 * kConsumers;
  static constexpr int kKeys = 128;
  static constexpr int kThreads = kWarpgroup * (kConsumers + 1);
  static constexpr int kConsumerRegisters = kDim == 64 ? 160 : 240;
  static constexpr int kProducerRegisters = kDim == 64 ? 32 : 24;
  static constexpr int kBoxes = kDim / kBoxColumns;
  static constexpr uint32_t kQueryBox = kQueries * kBoxRowBytes;
  static constexpr uint32_t kKeyBox = kKeys * kBoxRowBytes;
  static constexpr uint32_t kQueryBytes = kQueryBox * kBoxes;
  static constexpr uint32_t kKeyBytes = kKeyBox * kBoxes;
  static constexpr uint32_t kTileBytes = kQueryBytes + 2 * kStages * kKeyBytes;
};

// What a block computes.
struct Work {
  int head;
  int batch;
  Tile queries;
};

// After the tiles in shared memory.
struct Notes {
  Work work;  // read there when it is needed: it takes no registers in between
  uint64_t full_q;
  uint64_t full_k[kStages], empty_k[kStages];
  uint64_t full_v[kStages], empty_v[kStages];
  VisibleTile tile[kStages];  // of the keys that full_k tells of
};

struct Maps {
  CUtensorMap q, k, v;
};

// Shared memory of a block, as addresses.
template <class Shape>
struct Room {
  uint32_t base;

  __device__ __forceinline__ uint32_t q() const { return base; }
  __device__ __forceinline__ uint32_t k(uint32_t stage) const {
    return base + Shape::kQueryBytes + stage * Shape::kKeyBytes;
  }
  __device__ __forceinline__ uint32_t v(uint32_t stage) const { return k(kStages + stage); }
};

template <class Shape>
__device__ __forceinline__ void InitBarriers(Notes& notes) {
  constexpr int kConsumerWarps = 4 * Shape::kConsumers;
  ptx::MbarrierInit(At(notes.full_q), 1);
  for (uint32_t s = 0; s < kStages; ++s) {
    ptx::MbarrierInit(At(notes.full_k[s]), 1);
    ptx::MbarrierInit(At(notes.full_v[s]), 1);
    ptx::MbarrierInit(At(notes.empty_k[s]), kConsumerWarps);
    ptx::MbarrierInit(At(notes.empty_v[s]), kConsumerWarps);
  }
  ptx::FenceMbarrierInit();
}

template <class Shape>
__device__ __forceinline__ void Produce(const ForwardFold<BFloat16>& p, const Maps& maps,
                                        const Room<Shape>& room, Notes& notes) {
  const FoldShape& s = p.shape;
  const Work& work = notes.work;
  const bool leads = threadIdx.x % 32 == 0;
  if (leads) {
    ptx::MbarrierArriveExpect(At(notes.full_q), Shape::kQueryBytes);
    Fetch<Shape::kBoxes>(maps.q, {work.head * s.head_dim, work.queries.token, work.batch}, room.q(),
                         Shape::kQueryBox, At(notes.full_q));
  }
  const int column = work.head / s.group * s.head_dim;
  KeyTileWalk<false> walk(p.mask, work.queries, p.keys, Shape::kKeys);
  RingPlace at;
  while (true) {
    const VisibleTile next = walk.WarpNext();
    const bool ends = next.visibility == Visibility::kNone;
    if (leads) {
      ptx::MbarrierWait(At(notes.empty_k[at.stage]), at.round ^ 1);
      notes.tile[at.stage] = next;
      const uint32_t full = At(notes.full_k[at.stage]);
      if (ends) {
        ptx::MbarrierArrive(full);
      } else {
        const Corner corner{column, next.tile.token, work.batch};
        ptx::MbarrierArriveExpect(full, Shape::kKeyBytes);
        Fetch<Shape::kBoxes>(maps.k, corner, room.k(at.stage), Shape::kKeyBox, full);
        ptx::MbarrierWait(At(notes.empty_v[at.stage]), at.round ^ 1);
        const uint32_t full_v = At(notes.full_v[at.stage]);
        ptx::MbarrierArriveExpect(full_v, Shape::kKeyBytes);
        Fetch<Shape::kBoxes>(maps.v, corner, room.v(at.stage), Shape::kKeyBox, full_v);
      }
    }
    if (ends) return;
    at.Advance();
  }
}

// Turns at starting products: consumer c's turn is given by the one before it.
template <int kConsumers>
class Turns {
 public:
  __device__ __forceinline__ explicit Turns(int consumer) : consumer_(consumer) {
    if (consumer == kConsumers - 1) Give();
  }
  __device__ __forceinline__ void Take() const { ptx::BarSync(Id(consumer_), 2 * kWarpgroup); }
  __device__ __forceinline__ void Give() const {
    ptx::BarArrive(Id((consumer_ + 1) % kConsumers), 2 * kWarpgroup);
  }
  // All have had as many: the first's next turn has been given and nobody takes it.
  __device__ __forceinline__ void End() const {
    if (consumer_ == 0) Take();
  }

 private:
  static __device__ __forceinline__ int Id(int consumer) { return 1 + consumer; }
  int consumer_;
};

struct Consumer {
  int index;
  TwoRows rows;
};

// Folds all tiles into `state`. Requires that there is one, which has come.
template <class Shape>
__device__ __forceinline__ void FoldTiles(const ForwardFold<BFloat16>& p, const Room<Shape>& room,
                                          Notes& notes, const Consumer& consumer,
                                          RunningRows<Shape::kDim>& state) {
  constexpr int kDim = Shape::kDim, kKeys = Shape::kKeys;
  const float scale2 = p.shape.scale * kLog2E;
  const uint32_t q = room.q() + static_cast<uint32_t>(consumer.index) * 64 * kBoxRowBytes;
  float scores[kKeys / 8][4], factor[2];
  uint32_t weights[kKeys / 16][4];
  VisibleTile keys = notes.tile[0];
  RingPlace at;
  const Turns<Shape::kConsumers> turns(consumer.index);
  ptx::WgmmaFence();
  StartRowsTimesRows<kDim, Shape::kQueries, kKeys>(scores, q, room.k(0));
  ptx::WgmmaCommit();
  ptx::WgmmaWait<0>(Flat(scores));
  Release(notes.empty_k[0]);
  MaskScores<false>(p.mask, consumer.rows, keys, scores);
  state.softmax.Take(scores, scale2, factor);
  ScaleRows(state.out, factor);
  PackRows(scores, weights);
  while (true) {
    const RingPlace last = at;  // whose weights wait for their values
    at.Advance();
    ptx::MbarrierWait(At(notes.full_k[at.stage]), at.round);
    keys = notes.tile[at.stage];
    if (keys.visibility == Visibility::kNone) {
      ptx::MbarrierWait(At(notes.full_v[last.stage]), last.round);
      ptx::WgmmaFence();
      StartAddTimesTile<kDim, kKeys>(state.out, weights, room.v(last.stage));
      ptx::WgmmaCommit();
      ptx::WgmmaWait<0>(Flat(state.out));
      break;
    }
    turns.Take();
    ptx::WgmmaFence();
    StartRowsTimesRows<kDim, Shape::kQueries, kKeys>(scores, q, room.k(at.stage));
    ptx::WgmmaCommit();
    ptx::MbarrierWait(At(notes.full_v[last.stage]), last.round);
    ptx::WgmmaFence();
    StartAddTimesTile<kDim, kKeys>(state.out, weights, room.v(last.stage));
    ptx::WgmmaCommit();
    turns.Give();
    ptx::WgmmaWait<1>(Flat(scores));
    Release(notes.empty_k[at.stage]);
    MaskScores<false>(p.mask, consumer.rows, keys, scores);
    state.softmax.Take(scores, scale2, factor);
    ptx::StayBehind(state.softmax.sum[0] + state.softmax.sum[1]);
    ptx::WgmmaWait<0>(Flat(state.out));
    Release(notes.empty_v[last.stage]);
    ScaleRows(state.out, factor);
    PackRows(scores, weights);
  }
  turns.End();
}

// A warp's rows, from `first_row` of the block's on.
__device__ __forceinline__ RowBlock RowsOf(const ForwardFold<BFloat16>& p, const Work& work,
                                           int first_row) {
  return {RowIndex(p.shape, work.batch, work.head, work.queries.token + first_row),
          work.queries.count - first_row, p.shape.head_dim};
}

template <class Shape>
__device__ __forceinline__ void Consume(const ForwardFold<BFloat16>& p, const Room<Shape>& room,
                                        Notes& notes, int consumer) {
  const Work& work = notes.work;
  const int first_row = consumer * 64 + static_cast<int>(threadIdx.x) % kWarpgroup / 32 * 16;
  const Consumer self{consumer, TwoRows(p.mask, work.queries, first_row)};
  // Even without keys: no copy may be under way when a block ends.
  ptx::MbarrierWait(At(notes.full_q), 0);
  ptx::MbarrierWait(At(notes.full_k[0]), 0);
  const bool any = notes.tile[0].visibility != Visibility::kNone;
  const bool last = p.outputs.lse != nullptr;
  if (!any && !last) return;
  RunningRows<Shape::kDim> state;
  state.Load(p.out, p.max, p.sum, RowsOf(p, work, first_row));
  if (any) FoldTiles<Shape>(p, room, notes, self, state);
  const RowBlock rows = RowsOf(p, work, first_row);
  if (last) {
    state.Finish({p, work.batch, work.head, work.queries.token + first_row}, rows);
  } else {
    state.Store(p.out, p.max, p.sum, rows);
  }
}

template <class Shape>
__global__ void __launch_bounds__(Shape::kThreads, 1)
    HopperForwardKernel(const __grid_constant__ ForwardFold<BFloat16> p,
                        const __grid_constant__ Maps maps) {
  DYNAMIC_SHARED(shared);
  Notes& notes = *reinterpret_cast<Notes*>(shared + Shape::kTileBytes);
  const Room<Shape> room{ptx::SharedAddress(shared)};
  if (threadIdx.x == 0) {
    const int tile = static_cast<int>(gridDim.x - 1 - blockIdx.x);  // those of most work first
    notes.work = {static_cast<int>(blockIdx.y), static_cast<int>(blockIdx.z),
                  TileAt(p.queries, tile, Shape::kQueries)};
    InitBarriers<Shape>(notes);
  }
  __syncthreads();
  SplitWarpgroups<Shape>(
      [&](int warp) {
        if (warp == 0) Produce<Shape>(p, maps, room, notes);
      },
      [&](int warpgroup) { Consume<Shape>(p, room, notes, warpgroup); });
}

template <class Shape>
void Run(ForwardLaunch<BFloat16> launch) {
  ForwardFold<BFloat16>& fold = launch.fold;
  const FoldShape& s = fold.shape;
  fold.queries = CutIntoTiles(launch.queries, Shape::kQueries);
  fold.keys = CutIntoTiles(launch.keys, Shape::kKeys);
  const Maps maps{MapTensor(MappedQueries(s, fold.q, launch.batch), Shape::kQueries),
                  MapTensor(MappedKeys(s, fold.k, launch.batch), Shape::kKeys),
                  MapTensor(MappedKeys(s, fold.v, launch.batch), Shape::kKeys)};
  Launch(HopperForwardKernel<Shape>,
         {.grid = dim3(static_cast<unsigned>(fold.queries.tiles()), static_cast<unsigned>(s.heads),
                       static_cast<unsigned>(launch.batch)),
          .block = Shape::kThreads,
          .shared_bytes = Shape::kTileBytes + static_cast<int64_t>(sizeof(Notes))},
         launch.stream, "attention forward (hopper)", fold, maps);
}

}  // namespace

void HopperForwardFold(const ForwardLaunch<BFloat16>& launch) {
  if (launch.fold.shape.head_dim == 64) {
    Run<Tiling<64>>(launch);
  } else {
    Run<Tiling<128>>(launch);
  }
}

}  // namespace annulus::kernels::cuda
