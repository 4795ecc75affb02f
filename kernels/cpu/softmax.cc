// A row at a time while it is in cache: maximum, exponentials and their sum, probabilities.
#include "kernels/cpu/softmax.h"

#include <algorithm>
#include <limits>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/softmax.cc"
#include <hwy/foreach_target.h>
// Must come after foreach_target.h.
#include "kernels/cpu/parallel_blocks.h"
#include "kernels/cpu/vector-inl.h"

HWY_BEFORE_NAMESPACE();
namespace annulus::kernels::cpu {
namespace HWY_NAMESPACE {

// One row; `width` is S.
template <class T>
void SoftmaxRow(float* scores, std::span<const KeySegment> keys, float scale, T* p, int64_t width) {
  float max = -std::numeric_limits<float>::infinity();
  for (const KeySegment& s : keys) {
    max = std::max(max, MaxOf(scores + s.begin, s.end - s.begin));
  }
  float sum = 0;
  for (const KeySegment& s : keys) {
    float* x = scores + s.begin;
    sum += SumOf(s.end - s.begin, [&](auto d, int64_t i) HWY_ATTR {
      const auto below_max = hn::Sub(hn::LoadU(d, x + i), hn::Set(d, max));
      const auto e = ExpNonPositive(d, hn::Mul(below_max, hn::Set(d, scale)));
      hn::StoreU(e, d, x + i);
      return e;
    });
  }
  int64_t written = 0;
  for (const KeySegment& s : keys) {
    std::fill(p + written, p + s.begin, T{});
    const float* e = scores + s.begin;
    ForEach(s.end - s.begin, [&](auto d, int64_t i) HWY_ATTR {
      StoreF32(hn::Mul(hn::LoadU(d, e + i), hn::Set(d, 1 / sum)), d, p + s.begin + i);
    });
    written = s.end;
  }
  std::fill(p + written, p + width, T{});
}

template <class T>
void SoftmaxBackwardRow(const T* p, const float* dp, float scale, T* ds, int64_t width) {
  const float mean = SumOf(width, [&](auto d, int64_t i) HWY_ATTR {
    return hn::Mul(LoadF32(d, p + i), hn::LoadU(d, dp + i));
  });
  ForEach(width, [&](auto d, int64_t i) HWY_ATTR {
    const auto centred = hn::Sub(hn::LoadU(d, dp + i), hn::Set(d, mean));
    StoreF32(hn::Mul(hn::Mul(LoadF32(d, p + i), hn::Set(d, scale)), centred), d, ds + i);
  });
}

template <class T>
void SoftmaxRowsOf(const MaskedSoftmaxArgs& args, int64_t begin, int64_t end) {
  const int64_t width = args.p.dim(1);
  for (int64_t t = begin; t < end; ++t) {
    const auto row = static_cast<size_t>(t);
    const auto first = static_cast<size_t>(args.keys.first[row]);
    const auto last = static_cast<size_t>(args.keys.first[row + 1]);
    SoftmaxRow(args.scores.As<float>() + t * width, args.keys.segments.subspan(first, last - first),
               args.scale, args.p.As<T>() + t * width, width);
  }
}

template <class T>
void SoftmaxBackwardRowsOf(const MaskedSoftmaxBackwardArgs& args, int64_t begin, int64_t end) {
  const int64_t width = args.ds.dim(1);
  for (int64_t t = begin; t < end; ++t) {
    SoftmaxBackwardRow(args.p.As<T>() + t * width, args.dp.As<float>() + t * width, args.scale,
                       args.ds.As<T>() + t * width, width);
  }
}

// Rows [begin, end).
void SoftmaxRows(const MaskedSoftmaxArgs& args, int64_t begin, int64_t end) {
  if (args.p.dtype == DType::kBF16) return SoftmaxRowsOf<BFloat16>(args, begin, end);
  SoftmaxRowsOf<float>(args, begin, end);
}

void SoftmaxBackwardRows(const MaskedSoftmaxBackwardArgs& args, int64_t begin, int64_t end) {
  if (args.p.dtype == DType::kBF16) return SoftmaxBackwardRowsOf<BFloat16>(args, begin, end);
  SoftmaxBackwardRowsOf<float>(args, begin, end);
}

}  // namespace HWY_NAMESPACE
}  // namespace annulus::kernels::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace annulus::kernels::cpu {
namespace {

HWY_EXPORT(SoftmaxRows);
HWY_EXPORT(SoftmaxBackwardRows);

}  // namespace

void MaskedSoftmax(const MaskedSoftmaxArgs& args, int threads) {
  ParallelBlocks(args.p.dim(0), BlockRows(args.p.dim(1)), threads, [&](int64_t begin, int64_t end) {
    HWY_DYNAMIC_DISPATCH(SoftmaxRows)(args, begin, end);
  });
}

void MaskedSoftmaxBackward(const MaskedSoftmaxBackwardArgs& args, int threads) {
  ParallelBlocks(args.p.dim(0), BlockRows(args.p.dim(1)), threads, [&](int64_t begin, int64_t end) {
    HWY_DYNAMIC_DISPATCH(SoftmaxBackwardRows)(args, begin, end);
  });
}

}  // namespace annulus::kernels::cpu
#endif  // HWY_ONCE
