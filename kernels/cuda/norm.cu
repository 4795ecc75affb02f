// Root-mean-square norm. Forward: a block a row, which it reads twice, the second time from its
// cache; 2b bytes an element of b bytes. Backward: a block a row for dx (5b), then a block for some
// columns of some rows for the partial sums of dweight (2b more), then their sum. Shared memory:
// 128 bytes.
#include "kernels/cuda/block_reduce.h"
#include "kernels/cuda/elementwise.h"
#include "kernels/cuda/ptx.h"

namespace annulus::kernels::cuda {
namespace {

constexpr int64_t kMostThreads = 512;

template <class T>
struct NormRows {
  const T* x;
  const T* weight;
  T* y;
  float* rstd;
  float eps;
  int64_t hidden;
};

template <int kWidth, class T>
__global__ void RmsNormKernel(const NormRows<T> rows) {
  DYNAMIC_SHARED(memory);
  const int64_t hidden = rows.hidden, first = int64_t{threadIdx.x} * kWidth;
  const int64_t step = int64_t{blockDim.x} * kWidth;
  const T* x = rows.x + int64_t{blockIdx.x} * hidden;
  T* y = rows.y + int64_t{blockIdx.x} * hidden;
  float squares = 0;
  for (int64_t i = first; i < hidden; i += step) {
    float v[kWidth];
    Load(x + i, v);
#pragma unroll
    for (int j = 0; j < kWidth; ++j) squares = fmaf(v[j], v[j], squares);
  }
  squares = BlockSum(squares, reinterpret_cast<float*>(memory));
  const float rstd = 1.0f / sqrtf(squares / static_cast<float>(hidden) + rows.eps);
  if (threadIdx.x == 0) rows.rstd[blockIdx.x] = rstd;
  for (int64_t i = first; i < hidden; i += step) {
    float v[kWidth], w[kWidth];
    Load(x + i, v);
    Load(rows.weight + i, w);
#pragma unroll
    for (int j = 0; j < kWidth; ++j) v[j] *= rstd * w[j];
    Store(v, y + i);
  }
}

template <class T>
struct NormBackwardRows {
  const T* dy;
  const T* x;
  const T* weight;
  const float* rstd;
  T* dx;
  int64_t rows;
  int64_t hidden;
};

// With n = x rstd and g = dy weight: dx += rstd (g - n mean(g n)).
template <int kWidth, class T>
__global__ void RmsNormBackwardKernel(const NormBackwardRows<T> rows) {
  DYNAMIC_SHARED(memory);
  const int64_t hidden = rows.hidden, first = int64_t{threadIdx.x} * kWidth;
  const int64_t step = int64_t{blockDim.x} * kWidth, begin = int64_t{blockIdx.x} * hidden;
  const float rstd = rows.rstd[blockIdx.x];
  float dot = 0;
  for (int64_t i = first; i < hidden; i += step) {
    float g[kWidth], x[kWidth], w[kWidth];
    Load(rows.dy + begin + i, g);
    Load(rows.x + begin + i, x);
    Load(rows.weight + i, w);
#pragma unroll
    for (int j = 0; j < kWidth; ++j) dot = fmaf(g[j] * w[j], x[j], dot);
  }
  dot = BlockSum(dot, reinterpret_cast<float*>(memory));
  const float mean = dot * rstd / static_cast<float>(hidden);
  for (int64_t i = first; i < hidden; i += step) {
    float g[kWidth], x[kWidth], w[kWidth], dx[kWidth];
    Load(rows.dy + begin + i, g);
    Load(rows.x + begin + i, x);
    Load(rows.weight + i, w);
    Load(rows.dx + begin + i, dx);
#pragma unroll
    for (int j = 0; j < kWidth; ++j) {
      dx[j] = fmaf(fmaf(-x[j] * rstd, mean, g[j] * w[j]), rstd, dx[j]);
    }
    Store(dx, rows.dx + begin + i);
  }
}

// dweight is summed over blocks of rows, whose number depends on the shape alone, then over those.
constexpr int64_t kMostPartials = 128;
constexpr int64_t kLeastPartialRows = 32;
constexpr int kColumnThreads = 128;

int64_t PartialRows(int64_t rows) {
  return std::max(kLeastPartialRows, CeilDiv(rows, kMostPartials));
}
int64_t Partials(int64_t rows) { return CeilDiv(rows, PartialRows(rows)); }

// partials [blockIdx.y] [C] = the sum of dy n over its `count` rows, a thread a column.
template <class T>
__global__ void WeightPartialsKernel(const NormBackwardRows<T> rows, const int64_t count,
                                     float* const partials) {
  const int64_t column = int64_t{blockIdx.x} * kColumnThreads + threadIdx.x;
  if (column >= rows.hidden) return;
  const int64_t begin = int64_t{blockIdx.y} * count;
  const int64_t end = begin + count < rows.rows ? begin + count : rows.rows;
  float sum = 0;
  for (int64_t r = begin; r < end; ++r) {
    const int64_t at = r * rows.hidden + column;
    sum = fmaf(Widen(rows.dy[at]), Widen(rows.x[at]) * rows.rstd[r], sum);
  }
  partials[int64_t{blockIdx.y} * rows.hidden + column] = sum;
}

// dweight [C] += the rows of partials [count,C], in order.
__global__ void AddPartialsKernel(const float* const partials, const int64_t count,
                                  const int64_t hidden, float* const dweight) {
  const int64_t column = int64_t{blockIdx.x} * kColumnThreads + threadIdx.x;
  if (column >= hidden) return;
  float sum = 0;
  for (int64_t p = 0; p < count; ++p) sum += partials[p * hidden + column];
  dweight[column] += sum;
}

template <int kWidth>
LaunchShape RowShape(int64_t rows, int64_t hidden) {
  return {.grid = Blocks(rows),
          .block = ThreadsFor(CeilDiv(hidden, kWidth), kMostThreads),
          .shared_bytes = kReduceBytes<float>};
}

// Rows of tensors that begin aligned are all aligned where a row is whole accesses.
template <class T>
bool WholeAccesses(int64_t hidden) {
  return hidden % kFullWidth<T> == 0;
}

}  // namespace

void RmsNorm(const RmsNormArgs& args, cudaStream_t stream) {
  const int64_t count = args.x.dim(0), hidden = args.x.dim(1);
  WithElement(args.x.dtype, [&](auto element) {
    using T = decltype(element);
    constexpr int kWidth = kFullWidth<T>;
    const NormRows<T> rows{args.x.As<T>(), args.weight.As<T>(),
                           args.y.As<T>(), args.rstd.As<float>(),
                           args.eps,       hidden};
    if (WholeAccesses<T>(hidden) && Aligned(args.x, args.weight, args.y)) {
      Launch(RmsNormKernel<kWidth, T>, RowShape<kWidth>(count, hidden), stream, "rms norm", rows);
    } else {
      Launch(RmsNormKernel<1, T>, RowShape<1>(count, hidden), stream, "rms norm", rows);
    }
  });
}

int64_t RmsNormBackwardScratchBytes(const RmsNormBackwardArgs& args) {
  return Partials(args.x.dim(0)) * args.x.dim(1) * SizeOf(DType::kF32);
}

void RmsNormBackward(const RmsNormBackwardArgs& args, View scratch, cudaStream_t stream) {
  const int64_t count = args.x.dim(0), hidden = args.x.dim(1);
  if (count == 0) return;
  auto* const partials = static_cast<float*>(scratch.data);
  const dim3 columns = Blocks(CeilDiv(hidden, kColumnThreads));
  WithElement(args.x.dtype, [&](auto element) {
    using T = decltype(element);
    constexpr int kWidth = kFullWidth<T>;
    const NormBackwardRows<T> rows{args.dy.As<T>(),
                                   args.x.As<T>(),
                                   args.weight.As<T>(),
                                   args.rstd.As<float>(),
                                   args.dx.As<T>(),
                                   count,
                                   hidden};
    if (WholeAccesses<T>(hidden) && Aligned(args.dy, args.x, args.weight, args.dx)) {
      Launch(RmsNormBackwardKernel<kWidth, T>, RowShape<kWidth>(count, hidden), stream,
             "rms norm backward", rows);
    } else {
      Launch(RmsNormBackwardKernel<1, T>, RowShape<1>(count, hidden), stream, "rms norm backward",
             rows);
    }
    Launch(WeightPartialsKernel<T>,
           {.grid = {columns.x, static_cast<unsigned>(Partials(count)), 1},
            .block = {kColumnThreads, 1, 1}},
           stream, "rms norm weight partials", rows, PartialRows(count), partials);
  });
  Launch(AddPartialsKernel, {.grid = columns, .block = {kColumnThreads, 1, 1}}, stream,
         "rms norm weight", partials, Partials(count), hidden, args.dweight.As<float>());
}

}  // namespace annulus::kernels::cuda
