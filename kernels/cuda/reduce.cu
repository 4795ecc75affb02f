// Sums of f32 tensors: a block a part. 4 bytes an element; shared memory: 256 bytes.
#include "kernels/cuda/block_reduce.h"
#include "kernels/cuda/ptx.h"
#include "kernels/cuda/reduce.h"

namespace annulus::kernels::cuda {
namespace {

constexpr int64_t kThreads = 256;
// A part is worth at least this many elements for every thread.
constexpr int64_t kThreadElements = 16;

int64_t PartElements(int64_t elements) {
  constexpr int64_t kLeast = kThreads * kThreadElements;
  const int64_t part = std::max(kLeast, CeilDiv(elements, kMostPartialSums));
  return CeilDiv(part, kFullWidth<float>) * kFullWidth<float>;
}

template <Summand kSummand>
__device__ inline double TermOf(float x) {
  const double value = x;
  return kSummand == Summand::kSquare ? value * value : value;
}

template <Summand kSummand, int kWidth>
__global__ void SumPartsKernel(const float* const x, const int64_t count, const int64_t part,
                               double* const partials) {
  DYNAMIC_SHARED(memory);
  const int64_t begin = int64_t{blockIdx.x} * part;
  const int64_t end = begin + part < count ? begin + part : count;
  double sum = 0;
  int64_t i = begin + int64_t{threadIdx.x} * kWidth;
  for (; i + kWidth <= end; i += kThreads * kWidth) {
    float v[kWidth];
    Load(x + i, v);
#pragma unroll
    for (int j = 0; j < kWidth; ++j) sum += TermOf<kSummand>(v[j]);
  }
  // At most one thread is left with less than an access.
  for (; i < end; ++i) sum += TermOf<kSummand>(x[i]);
  sum = BlockSum(sum, reinterpret_cast<double*>(memory));
  if (threadIdx.x == 0) partials[blockIdx.x] = sum;
}

template <Summand kSummand>
void SumPartsOf(ConstView view, double* partials, cudaStream_t stream) {
  constexpr int kWidth = kFullWidth<float>;
  const int64_t count = view.size();
  const LaunchShape shape{.grid = Blocks(PartialSums(count)),
                          .block = {static_cast<unsigned>(kThreads), 1, 1},
                          .shared_bytes = kReduceBytes<double>};
  Launch(Aligned(view) ? SumPartsKernel<kSummand, kWidth> : SumPartsKernel<kSummand, 1>, shape,
         stream, "sum", view.As<float>(), count, PartElements(count), partials);
}

}  // namespace

int64_t PartialSums(int64_t elements) { return CeilDiv(elements, PartElements(elements)); }

void SumParts(ConstView view, Summand summand, double* partials, cudaStream_t stream) {
  summand == Summand::kSquare ? SumPartsOf<Summand::kSquare>(view, partials, stream)
                              : SumPartsOf<Summand::kValue>(view, partials, stream);
}

}  // namespace annulus::kernels::cuda
