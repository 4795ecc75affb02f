// The gradient of queries on Hopper: from the score gradients of a block's keys to dq in memory.
#pragma once

#include "kernels/cuda/attention/hopper_backward.h"

namespace annulus::kernels::cuda {

// A warp's score gradients, packed rows of 16 keys from `first_key` on, to the box at `to`.
template <class Shape>
__device__ __forceinline__ void StoreScoreGradients(
    const uint32_t (&gradients)[Shape::kQueries / 16][4], int first_key, uint32_t to) {
  const int lane = ptx::LaneIndex();
  const uint32_t rows = ChunkAddress<kBoxColumns>(to, first_key + (lane & 15), lane >> 4);
#pragma unroll
  for (uint32_t k = 0; k < Shape::kQueries / 16; ++k) {
    ptx::StMatrixX4(rows ^ (k * 32), gradients[k]);
  }
}

// The barriers of the writer that gets the sums of the tile-th tile of a walk, and their parity.
template <class Shape>
struct WriterPlace {
  uint32_t writer;
  uint32_t round;

  __device__ __forceinline__ explicit WriterPlace(uint32_t tile)
      : writer(tile % Shape::kWriters), round(tile / Shape::kWriters & 1) {}
};

// The sums of a tile of queries over the keys of a block: dq = scale dS K, by a consumer or both.
template <class Shape>
class QuerySums {
 public:
  __device__ __forceinline__ QuerySums(int consumer, unsigned char* shared)
      : consumer_(static_cast<uint32_t>(consumer)), shared_(shared) {}

  __device__ __forceinline__ bool Computes(uint32_t stage) const {
    return !Shape::kTakeTurns || consumer_ == stage;
  }

  // Starts this consumer's box of the tile in `stage`, once dS of all consumers is there.
  __device__ __forceinline__ void Start(const BackwardRoom<Shape>& room, uint32_t stage) {
    const uint32_t box = Shape::kTakeTurns ? 0 : consumer_ * Shape::kKeyBox;
    ptx::WgmmaFence();
#pragma unroll
    for (uint32_t k = 0; k < Shape::kKeys / 16; ++k) {
      const uint32_t rows = k * 16 * kBoxRowBytes;
      ptx::WgmmaSharedShared<kBoxColumns, ptx::Major::kMN, ptx::Major::kMN>(
          Flat(dq_), AcrossRows(room.gradients(stage) + rows, Shape::kKeyBox),
          AcrossRows(room.k() + box + rows, Shape::kKeyBox), k > 0);
    }
    ptx::WgmmaCommit();
  }

  // Waits for all products, then gives them to the writer of the tile-th tile.
  __device__ __forceinline__ void Give(float scale, const BackwardRoom<Shape>& room, uint32_t tile,
                                       BackwardNotes<Shape>& notes) {
    if (tile > 0) {
      const WriterPlace<Shape> last(tile - 1);
      ptx::MbarrierWait(At(notes.empty_sum[last.writer]), last.round);
    }
    ptx::WgmmaWait<0>(Flat(dq_));
    Store(scale, room.sums() - room.base);
    ptx::FenceProxyAsync();
    Release(notes.full_sum[WriterPlace<Shape>(tile).writer]);
  }

 private:
  __device__ __forceinline__ void Store(float scale, uint32_t sums) const {
    const uint32_t first_row = threadIdx.x % kWarpgroup / 32 * 16;
    const uint32_t first_column = Shape::kTakeTurns ? 0 : consumer_ * kBoxColumns;
    unsigned char* const first = shared_ + sums + first_row * Shape::kSumRowBytes +
                                 first_column * static_cast<uint32_t>(sizeof(float));
    ForEachPair<kBoxColumns / 8>([&](int n, int half, int row, int column) {
      *reinterpret_cast<float2*>(first + static_cast<uint32_t>(row) * Shape::kSumRowBytes +
                                 static_cast<uint32_t>(column) * sizeof(float)) =
          float2{scale * dq_[n][2 * half], scale * dq_[n][2 * half + 1]};
    });
  }

  const uint32_t consumer_;
  unsigned char* const shared_;
  float dq_[kBoxColumns / 8][4];
};

// By one thread: waits for this block's turn at a tile, and notes what it will leave.
template <class Shape>
__device__ __forceinline__ void AwaitTurn(const BackwardFold<BFloat16>& p, const KeyWork& work,
                                          SumNote& note) {
  const Turn turn = TurnAt(p.mask, note.queries, p.keys, Shape::kKeys, work.key_tile);
  note.left = turn.left;
  ptx::WaitAcquire(p.turns.came + note.row, turn.awaited);
}

// By one of kWriters warps: adds what consumers leave for it to dq when it is this block's turn.
// There are several because each waits for its sums to arrive before it passes the turn on.
// Between its steps it keeps nothing in registers, of which its warpgroup has few.
template <class Shape>
__device__ __forceinline__ void WriteQuerySums(const BackwardFold<BFloat16>& p, uint32_t sums,
                                               BackwardNotes<Shape>& notes, uint32_t writer) {
  for (uint32_t tile = writer;; tile += Shape::kWriters) {
    ptx::MbarrierWait(At(notes.full_note[tile % kSumNotes]), tile / kSumNotes & 1);
    SumNote& note = notes.sums[tile % kSumNotes];
    if (note.queries.count == 0) return;
    if (ptx::LaneIndex() == 0) AwaitTurn<Shape>(p, notes.work, note);
    __syncwarp();
    ptx::FenceProxyAsyncGlobal();
    ptx::MbarrierWait(At(notes.full_sum[writer]), WriterPlace<Shape>(tile).round);
#pragma unroll 1
    for (int row = ptx::LaneIndex(); row < note.queries.count; row += 32) {
      ptx::BulkAdd(p.dq + (note.row + row) * Shape::kDim,
                   sums + static_cast<uint32_t>(row) * Shape::kSumRowBytes,
                   Shape::kDim * sizeof(float));
    }
    ptx::BulkCommit();
    ptx::BulkWaitRead<0>();
    __syncwarp();
    if (ptx::LaneIndex() == 0) ptx::MbarrierArrive(At(notes.empty_sum[writer]));
    ptx::BulkWait<0>();
    __syncwarp();
    if (ptx::LaneIndex() == 0) ptx::StoreRelease(p.turns.came + note.row, note.left);
  }
}

}  // namespace annulus::kernels::cuda
