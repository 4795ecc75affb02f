// Sums of f32 in float64: 4 bytes an element. Blocks depend on the size alone and are added in
// order.
#include <array>

#include "kernels/cpu/elementwise.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/reduce.cc"
#include <hwy/foreach_target.h>
// Must come after foreach_target.h.
#include "kernels/cpu/parallel_blocks.h"
#include "kernels/cpu/vector-inl.h"

HWY_BEFORE_NAMESPACE();
namespace annulus::kernels::cpu {
namespace HWY_NAMESPACE {

using F64 = hn::ScalableTag<double>;

// The float64 sum of term(v) over vectors v of x, two vectors of partial sums at a time.
template <class Term>
HWY_INLINE double SumInDouble(const float* x, int64_t count, const Term& term) {
  const F64 d;
  const hn::Rebind<float, F64> narrow;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  const auto at = [&](int64_t i)
                      HWY_ATTR { return term(hn::PromoteTo(d, hn::LoadU(narrow, x + i))); };
  auto s0 = hn::Zero(d), s1 = hn::Zero(d);
  int64_t i = 0;
  for (; i + 2 * lanes <= count; i += 2 * lanes) {
    s0 = hn::Add(s0, at(i));
    s1 = hn::Add(s1, at(i + lanes));
  }
  double sum = hn::GetLane(hn::SumOfLanes(d, hn::Add(s0, s1)));
  const hn::CappedTag<double, 1> one;
  for (; i < count; ++i) sum += hn::GetLane(term(hn::Set(one, static_cast<double>(x[i]))));
  return sum;
}

double SumBlock(const float* x, int64_t count) {
  return SumInDouble(x, count, [](auto v) HWY_ATTR { return v; });
}

double SumOfSquaresBlock(const float* x, int64_t count) {
  return SumInDouble(x, count, [](auto v) HWY_ATTR { return hn::Mul(v, v); });
}

}  // namespace HWY_NAMESPACE
}  // namespace annulus::kernels::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace annulus::kernels::cpu {
namespace {

HWY_EXPORT(SumBlock);
HWY_EXPORT(SumOfSquaresBlock);

template <class SumOfBlock>
double Reduce(const ConstView& view, int threads, const SumOfBlock& sum_of_block) {
  constexpr int64_t kMaxBlocks = 1024;
  const float* x = view.As<float>();
  const int64_t block = std::max(kBlockElements, (view.size() + kMaxBlocks - 1) / kMaxBlocks);
  std::array<double, kMaxBlocks> sums{};
  ParallelBlocks(view.size(), block, threads, [&](int64_t begin, int64_t end) {
    sums[static_cast<size_t>(begin / block)] = sum_of_block(x + begin, end - begin);
  });
  double total = 0;
  for (double sum : sums) total += sum;
  return total;
}

}  // namespace

double SumOfSquares(ConstView view, int threads) {
  return Reduce(view, threads, HWY_DYNAMIC_DISPATCH(SumOfSquaresBlock));
}

double Sum(ConstView view, int threads) {
  return Reduce(view, threads, HWY_DYNAMIC_DISPATCH(SumBlock));
}

}  // namespace annulus::kernels::cpu
#endif  // HWY_ONCE
