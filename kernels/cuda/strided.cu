// Copies and sums of strided tensors: dims that lie side by side count as one, and rows are moved
// in the widest accesses that all of them allow. 2b bytes an element of b bytes, 12 where f32 is
// accumulated. No shared memory.
#include <utility>

#include "kernels/cuda/elementwise.h"
#include "kernels/cuda/units.h"

namespace annulus::kernels::cuda {
namespace {

// Strides are in the accesses that a kernel makes.
struct StridedRows {
  int64_t shape[kMaxRank] = {1, 1, 1, 1};
  int64_t from[kMaxRank] = {};
  int64_t to[kMaxRank] = {};
  int64_t rows = 1;  // of the first three dims

  // Where a row begins.
  __device__ int64_t FromOf(int64_t row) const { return Offset(row, from); }
  __device__ int64_t ToOf(int64_t row) const { return Offset(row, to); }

 private:
  __device__ int64_t Offset(int64_t row, const int64_t (&stride)[kMaxRank]) const {
    const int64_t second = row / shape[2];
    return row % shape[2] * stride[2] + second % shape[1] * stride[1] +
           second / shape[1] * stride[0];
  }
};

template <class U>
__global__ void CopyRowsKernel(const StridedRows rows, const U* const from, U* const to) {
  const int64_t row = OwnRow();
  if (row >= rows.rows) return;
  const U* const source = from + rows.FromOf(row);
  U* const target = to + rows.ToOf(row);
  for (int64_t i = threadIdx.x; i < rows.shape[3]; i += blockDim.x) target[i] = source[i];
}

template <int kWidth>
__global__ void AddRowsKernel(const StridedRows rows, const float* const from, float* const to) {
  const int64_t row = OwnRow();
  if (row >= rows.rows) return;
  const float* const source = from + rows.FromOf(row) * kWidth;
  float* const target = to + rows.ToOf(row) * kWidth;
  for (int64_t i = threadIdx.x; i < rows.shape[3]; i += blockDim.x) {
    float a[kWidth], b[kWidth];
    Load(source + i * kWidth, a);
    Load(target + i * kWidth, b);
#pragma unroll
    for (int j = 0; j < kWidth; ++j) b[j] += a[j];
    Store(b, target + i * kWidth);
  }
}

// The copy in elements: dims right-aligned, those of one entry left out, those side by side merged.
StridedRows MergedRows(const ConstView& from, const View& to) {
  StridedRows merged;
  int last = kMaxRank;  // the outermost dim so far
  for (int d = from.rank - 1; d >= 0; --d) {
    const int64_t extent = from.dim(d);
    const auto i = static_cast<size_t>(d);
    if (extent == 1 && d != from.rank - 1) continue;
    if (last < kMaxRank && from.stride[i] == merged.from[last] * merged.shape[last] &&
        to.stride[i] == merged.to[last] * merged.shape[last]) {
      merged.shape[last] *= extent;
      continue;
    }
    --last;
    merged.shape[last] = extent;
    merged.from[last] = last == kMaxRank - 1 ? 1 : from.stride[i];
    merged.to[last] = last == kMaxRank - 1 ? 1 : to.stride[i];
  }
  merged.rows = merged.shape[0] * merged.shape[1] * merged.shape[2];
  return merged;
}

// The bytes that one access may move, everywhere.
int64_t CommonAlignment(const StridedRows& rows, int64_t element_bytes, const void* from,
                        const void* to) {
  int64_t bytes = std::min(AlignmentOf(from), AlignmentOf(to));
  bytes = std::min(bytes, AlignmentOf(rows.shape[3] * element_bytes));
  for (int d = 0; d < kMaxRank - 1; ++d) {
    if (rows.shape[d] == 1) continue;
    bytes = std::min(bytes, AlignmentOf(rows.from[d] * element_bytes));
    bytes = std::min(bytes, AlignmentOf(rows.to[d] * element_bytes));
  }
  return bytes;
}

// The same in accesses of so many bytes. Alignments divide, or are divided by, an element.
StridedRows InAccesses(StridedRows rows, int64_t element_bytes, int64_t access_bytes) {
  const auto scale = [&](int64_t elements) { return elements * element_bytes / access_bytes; };
  rows.shape[3] = scale(rows.shape[3]);
  for (int d = 0; d < kMaxRank - 1; ++d) {
    rows.from[d] = scale(rows.from[d]);
    rows.to[d] = scale(rows.to[d]);
  }
  return rows;
}

}  // namespace

void CopyStrided(const CopyStridedArgs& args, cudaStream_t stream) {
  if (args.to.size() == 0) return;
  const int64_t element = SizeOf(args.to.dtype);
  const StridedRows elements = MergedRows(args.from, args.to);
  const int64_t alignment = CommonAlignment(elements, element, args.from.data, args.to.data);
  if (args.accumulate) {
    constexpr int kWidth = kFullWidth<float>;
    const bool whole = alignment == kAccessBytes;
    const StridedRows rows = InAccesses(elements, element, whole ? kAccessBytes : element);
    const LaunchShape shape = ShapeOfRows(rows.rows, rows.shape[3]);
    Launch(whole ? AddRowsKernel<kWidth> : AddRowsKernel<1>, shape, stream, "add strided", rows,
           args.from.As<float>(), args.to.As<float>());
    return;
  }
  WithUnit(alignment, [&](auto unit) {
    using U = decltype(unit);
    const StridedRows rows = InAccesses(elements, element, sizeof(U));
    Launch(CopyRowsKernel<U>, ShapeOfRows(rows.rows, rows.shape[3]), stream, "copy strided", rows,
           static_cast<const U*>(args.from.data), static_cast<U*>(args.to.data));
  });
}

}  // namespace annulus::kernels::cuda
