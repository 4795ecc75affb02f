// Conversion between f32 and bf16: 6 bytes an element.
#include <algorithm>

#include "kernels/cpu/elementwise.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/convert.cc"
#include <hwy/foreach_target.h>
// Must come after foreach_target.h.
#include "kernels/cpu/parallel_blocks.h"
#include "kernels/cpu/vector-inl.h"

HWY_BEFORE_NAMESPACE();
namespace annulus::kernels::cpu {
namespace HWY_NAMESPACE {

void Widen(const BFloat16* from, float* to, int64_t count) {
  ForEach(count, [&](auto d, int64_t i) HWY_ATTR { hn::StoreU(LoadF32(d, from + i), d, to + i); });
}

void Narrow(const float* from, BFloat16* to, int64_t count) {
  ForEach(count, [&](auto d, int64_t i) HWY_ATTR { StoreF32(hn::LoadU(d, from + i), d, to + i); });
}

}  // namespace HWY_NAMESPACE
}  // namespace annulus::kernels::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace annulus::kernels::cpu {
namespace {

HWY_EXPORT(Widen);
HWY_EXPORT(Narrow);

// `count` elements from element `from_at` and to element `to_at` on.
void ConvertRun(const ConstView& from, int64_t from_at, const View& to, int64_t to_at,
                int64_t count) {
  if (from.dtype == to.dtype) {
    std::copy_n(from.As<float>() + from_at, count, to.As<float>() + to_at);
  } else if (from.dtype == DType::kBF16) {
    HWY_DYNAMIC_DISPATCH(Widen)
    (from.As<BFloat16>() + from_at, to.As<float>() + to_at, count);
  } else {
    HWY_DYNAMIC_DISPATCH(Narrow)
    (from.As<float>() + from_at, to.As<BFloat16>() + to_at, count);
  }
}

}  // namespace

void Convert(ConstView from, View to, int threads) {
  if (from.contiguous() && to.contiguous()) {
    ParallelBlocks(to.size(), kBlockElements, threads, [&](int64_t begin, int64_t end) {
      ConvertRun(from, begin, to, begin, end - begin);
    });
    return;
  }
  const int64_t columns = to.dim(1);
  ParallelBlocks(to.dim(0), BlockRows(columns), threads, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      ConvertRun(from, r * from.stride[0], to, r * to.stride[0], columns);
    }
  });
}

}  // namespace annulus::kernels::cpu
#endif  // HWY_ONCE
