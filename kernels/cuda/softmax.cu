// The softmax between the two products of attention, a block a row. Forward: scores are read three
// times, twice from cache, and probabilities written; backward: both factors are read twice. Shared
// memory: 128 bytes.
#include <cfloat>

#include "kernels/cuda/block_reduce.h"
#include "kernels/cuda/elementwise.h"
#include "kernels/cuda/ptx.h"

namespace annulus::kernels::cuda {
namespace {

constexpr int64_t kMostThreads = 256;

template <class T>
struct SoftmaxRows {
  const float* scores;  // [T,S]
  AllowedOnDevice keys;
  float scale;
  T* p;
  int64_t width;
};

// Calls visit(column) for the allowed keys of a row that are this thread's, ascending.
template <class Visit>
__device__ inline void ForAllowed(const AllowedOnDevice& keys, int64_t row, const Visit& visit) {
  for (int64_t s = keys.first[row]; s < keys.first[row + 1]; ++s) {
    const KeySegment segment = keys.segments[s];
    for (int64_t i = segment.begin + threadIdx.x; i < segment.end; i += blockDim.x) visit(i);
  }
}

template <class T>
__device__ inline void Zero(T* p, int64_t begin, int64_t end) {
  for (int64_t i = begin + threadIdx.x; i < end; i += blockDim.x) Narrow(0.0f, p[i]);
}

template <class T>
__global__ void MaskedSoftmaxKernel(const SoftmaxRows<T> rows) {
  DYNAMIC_SHARED(memory);
  const int64_t row = blockIdx.x;
  const float* const scores = rows.scores + row * rows.width;
  T* const p = rows.p + row * rows.width;
  auto* const shared = reinterpret_cast<float*>(memory);
  float max = -FLT_MAX;
  ForAllowed(rows.keys, row, [&](int64_t i) { max = Larger()(scores[i], max); });
  max = BlockMax(max, shared);
  float sum = 0;
  ForAllowed(rows.keys, row, [&](int64_t i) { sum += expf((scores[i] - max) * rows.scale); });
  sum = BlockSum(sum, shared);
  const float factor = 1.0f / sum;
  int64_t written = 0;
  for (int64_t s = rows.keys.first[row]; s < rows.keys.first[row + 1]; ++s) {
    const KeySegment segment = rows.keys.segments[s];
    Zero(p, written, segment.begin);
    for (int64_t i = segment.begin + threadIdx.x; i < segment.end; i += blockDim.x) {
      Narrow(expf((scores[i] - max) * rows.scale) * factor, p[i]);
    }
    written = segment.end;
  }
  Zero(p, written, rows.width);
}

template <class T>
struct SoftmaxBackwardRows {
  const T* p;
  const float* dp;
  float scale;
  T* ds;
  int64_t width;
};

template <class T>
__global__ void MaskedSoftmaxBackwardKernel(const SoftmaxBackwardRows<T> rows) {
  DYNAMIC_SHARED(memory);
  const int64_t begin = int64_t{blockIdx.x} * rows.width, end = begin + rows.width;
  float mean = 0;
  for (int64_t i = begin + threadIdx.x; i < end; i += blockDim.x) {
    mean = fmaf(Widen(rows.p[i]), rows.dp[i], mean);
  }
  mean = BlockSum(mean, reinterpret_cast<float*>(memory));
  for (int64_t i = begin + threadIdx.x; i < end; i += blockDim.x) {
    Narrow(rows.scale * Widen(rows.p[i]) * (rows.dp[i] - mean), rows.ds[i]);
  }
}

LaunchShape RowShape(int64_t rows, int64_t width) {
  return {.grid = Blocks(rows),
          .block = ThreadsFor(width, kMostThreads),
          .shared_bytes = kReduceBytes<float>};
}

}  // namespace

void MaskedSoftmax(const MaskedSoftmaxArgs& args, const AllowedOnDevice& keys,
                   cudaStream_t stream) {
  const int64_t width = args.p.dim(1);
  WithElement(args.p.dtype, [&](auto element) {
    using T = decltype(element);
    const SoftmaxRows<T> rows{args.scores.As<float>(), keys, args.scale, args.p.As<T>(), width};
    Launch(MaskedSoftmaxKernel<T>, RowShape(args.p.dim(0), width), stream, "masked softmax", rows);
  });
}

void MaskedSoftmaxBackward(const MaskedSoftmaxBackwardArgs& args, cudaStream_t stream) {
  const int64_t width = args.ds.dim(1);
  WithElement(args.p.dtype, [&](auto element) {
    using T = decltype(element);
    const SoftmaxBackwardRows<T> rows{args.p.As<T>(), args.dp.As<float>(), args.scale,
                                      args.ds.As<T>(), width};
    Launch(MaskedSoftmaxBackwardKernel<T>, RowShape(args.ds.dim(0), width), stream,
           "masked softmax backward", rows);
  });
}

}  // namespace annulus::kernels::cuda
