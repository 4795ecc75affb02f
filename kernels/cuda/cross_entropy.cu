// Cross-entropy and its gradient, a block a row: one pass for maximum and sum together, one that
// writes the gradient. 8 bytes a logit read, and the gradient written. Shared memory: 128 bytes.
#include <cfloat>
#include <limits>

#include "kernels/cuda/block_reduce.h"
#include "kernels/cuda/data_fault.h"
#include "kernels/cuda/elementwise.h"
#include "kernels/cuda/ptx.h"

namespace annulus::kernels::cuda {
namespace {

constexpr int64_t kMostThreads = 512;

template <class T>
struct LossRows {
  const float* logits;  // [M,V]
  const int32_t* labels;
  float* loss;
  T* gradient;  // or null
  int64_t gradient_stride;
  float scale;
  int64_t vocabulary;
  DataFault* fault;
};

// sum = sum of exp(x - max) over what was added.
struct RunningSum {
  float max = -FLT_MAX;  // finite, so that logits of -inf add 0
  float sum = 0;

  __device__ void Add(float x) {
    if (x > max) {
      sum = fmaf(sum, expf(max - x), 1.0f);
      max = x;
    } else {
      sum += expf(x - max);
    }
  }
};

template <int kWidth>
__device__ RunningSum SumOfRow(const float* logits, int64_t vocabulary, float* shared) {
  RunningSum own;
  for (int64_t i = int64_t{threadIdx.x} * kWidth; i < vocabulary;
       i += int64_t{blockDim.x} * kWidth) {
    float x[kWidth];
    Load(logits + i, x);
#pragma unroll
    for (int j = 0; j < kWidth; ++j) own.Add(x[j]);
  }
  RunningSum all;
  all.max = BlockMax(own.max, shared);
  all.sum = BlockSum(own.sum * expf(own.max - all.max), shared);
  return all;
}

// gradient = scale * (softmax - onehot(label)). The gradient may lie where the logits do, narrower
// than they: what a round of the block writes lies in logits that it, or an earlier round, read.
template <int kWidth, class T>
__device__ void GradientOfRow(const float* logits, int64_t label, const RunningSum& row,
                              const LossRows<T>& rows, T* gradient) {
  const float factor = rows.scale / row.sum;
  const int64_t step = int64_t{blockDim.x} * kWidth;
  for (int64_t round = 0; round < rows.vocabulary; round += step) {
    const int64_t i = round + int64_t{threadIdx.x} * kWidth;
    float x[kWidth] = {};
    if (i < rows.vocabulary) Load(logits + i, x);
    __syncthreads();
#pragma unroll
    for (int j = 0; j < kWidth; ++j) {
      x[j] = expf(x[j] - row.max) * factor;
      if (i + j == label) x[j] -= rows.scale;
    }
    if (i < rows.vocabulary) Store(x, gradient + i);
  }
}

template <int kWidth, class T>
__device__ void ZeroRow(T* gradient, int64_t vocabulary) {
  const float zeros[kWidth] = {};
  for (int64_t i = int64_t{threadIdx.x} * kWidth; i < vocabulary;
       i += int64_t{blockDim.x} * kWidth) {
    Store(zeros, gradient + i);
  }
}

template <int kWidth, class T>
__global__ void CrossEntropyKernel(const LossRows<T> rows) {
  DYNAMIC_SHARED(memory);
  const int64_t row = blockIdx.x;
  const float* const logits = rows.logits + row * rows.vocabulary;
  T* const gradient =
      rows.gradient == nullptr ? nullptr : rows.gradient + row * rows.gradient_stride;
  const int32_t label = rows.labels[row];
  const bool outside = label >= rows.vocabulary;
  if (label < 0 || outside) {
    if (threadIdx.x == 0) {
      rows.loss[row] = outside ? std::numeric_limits<float>::quiet_NaN() : 0.0f;
      if (outside) *rows.fault = {DataFault::kLabel, label};
    }
    if (gradient != nullptr) ZeroRow<kWidth>(gradient, rows.vocabulary);
    return;
  }
  const float at_label = logits[label];
  const RunningSum sum =
      SumOfRow<kWidth>(logits, rows.vocabulary, reinterpret_cast<float*>(memory));
  if (threadIdx.x == 0) rows.loss[row] = logf(sum.sum) + (sum.max - at_label);
  if (gradient != nullptr) GradientOfRow<kWidth>(logits, label, sum, rows, gradient);
}

}  // namespace

void CrossEntropy(const CrossEntropyArgs& args, DataFault* fault, cudaStream_t stream) {
  const int64_t rows = args.logits.dim(0), vocabulary = args.logits.dim(1);
  const bool has_gradient = args.gradient.rank != 0;
  constexpr int kWidth = kFullWidth<float>;
  const int64_t gradient_row = args.gradient.stride[0] * SizeOf(args.gradient.dtype);
  const bool aligned = vocabulary % kWidth == 0 && Aligned(args.logits, args.gradient) &&
                       AlignmentOf(gradient_row) == kAccessBytes;
  const auto shape = [&](int width) {
    return LaunchShape{.grid = Blocks(rows),
                       .block = ThreadsFor(CeilDiv(vocabulary, width), kMostThreads),
                       .shared_bytes = kReduceBytes<float>};
  };
  WithElement(has_gradient ? args.gradient.dtype : DType::kF32, [&](auto element) {
    using T = decltype(element);
    const LossRows<T> all{args.logits.As<float>(),
                          args.labels.As<int32_t>(),
                          args.loss.As<float>(),
                          has_gradient ? args.gradient.As<T>() : nullptr,
                          args.gradient.stride[0],
                          args.gradient_scale,
                          vocabulary,
                          fault};
    if (aligned) {
      Launch(CrossEntropyKernel<kWidth, T>, shape(kWidth), stream, "cross entropy", all);
    } else {
      Launch(CrossEntropyKernel<1, T>, shape(1), stream, "cross entropy", all);
    }
  });
}

}  // namespace annulus::kernels::cuda
