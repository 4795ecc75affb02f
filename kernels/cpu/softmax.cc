// A row at a time while it is in cache: maximum, exponentials and their sum, probabilities.
#include "kernels/cpu/softmax.h"

#include <algorithm>
#include <limits>

#include "kernels/base/bfloat16.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/softmax.cc"
#include <hwy/foreach_target.h>
// Must come after foreach_target.h.
#include "kernels/cpu/parallel_blocks.h"
#include "kernels/cpu/vector-inl.h"

HWY_BEFORE_NAMESPACE();
namespace annulus::kernels::cpu {
namespace HWY_NAMESPACE {

template <class D, class V>
HWY_INLINE void StoreAs(D d, V x, float* to) {
  hn::StoreU(x, d, to);
}

// Rounded to nearest, ties to even. Requires that no lane is a NaN.
template <class D, class V>
HWY_INLINE void StoreAs(D /*d*/, V x, BFloat16* to) {
  const hn::RebindToUnsigned<D> du;
  const hn::RebindToSigned<D> di;
  const hn::Rebind<uint16_t, D> d16;
  const auto bits = hn::BitCast(du, x);
  const auto odd = hn::And(hn::ShiftRight<16>(bits), hn::Set(du, 1u));
  const auto rounded = hn::ShiftRight<16>(hn::Add(hn::Add(bits, hn::Set(du, 0x7fffu)), odd));
  hn::StoreU(hn::DemoteTo(d16, hn::BitCast(di, rounded)), d16, &to->bits);
}

template <class D>
HWY_INLINE auto LoadAs(D d, const float* from) {
  return hn::LoadU(d, from);
}

template <class D>
HWY_INLINE auto LoadAs(D d, const BFloat16* from) {
  const hn::RebindToUnsigned<D> du;
  const hn::Rebind<uint16_t, D> d16;
  return hn::BitCast(d, hn::ShiftLeft<16>(hn::PromoteTo(du, hn::LoadU(d16, &from->bits))));
}

float MaxOfSegment(const float* x, int64_t count) {
  const F32 d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  auto max = hn::Set(d, -std::numeric_limits<float>::infinity());
  int64_t i = 0;
  for (; i + lanes <= count; i += lanes) max = hn::Max(max, hn::LoadU(d, x + i));
  float result = hn::GetLane(hn::MaxOfLanes(d, max));
  for (; i < count; ++i) result = std::max(result, x[i]);
  return result;
}

// One row; `width` is S.
template <class T>
void SoftmaxRow(float* scores, std::span<const KeySegment> keys, float scale, T* p, int64_t width) {
  float max = -std::numeric_limits<float>::infinity();
  for (const KeySegment& s : keys) {
    max = std::max(max, MaxOfSegment(scores + s.begin, s.end - s.begin));
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
      StoreAs(d, hn::Mul(hn::LoadU(d, e + i), hn::Set(d, 1 / sum)), p + s.begin + i);
    });
    written = s.end;
  }
  std::fill(p + written, p + width, T{});
}

template <class T>
void SoftmaxBackwardRow(const T* p, const float* dp, float scale, T* ds, int64_t width) {
  const float mean = SumOf(width, [&](auto d, int64_t i) HWY_ATTR {
    return hn::Mul(LoadAs(d, p + i), hn::LoadU(d, dp + i));
  });
  ForEach(width, [&](auto d, int64_t i) HWY_ATTR {
    const auto centred = hn::Sub(hn::LoadU(d, dp + i), hn::Set(d, mean));
    StoreAs(d, hn::Mul(hn::Mul(LoadAs(d, p + i), hn::Set(d, scale)), centred), ds + i);
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
