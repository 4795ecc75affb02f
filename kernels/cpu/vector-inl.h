// Loops and functions over vectors of f32, compiled once per instruction set by Highway's
// foreach_target. Included by the .cc files of this directory after hwy/foreach_target.h. Elements
// in memory are f32 or bf16: widened when loaded, rounded when stored, so one kernel serves both.
#if defined(ANNULUS_KERNELS_CPU_VECTOR_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef ANNULUS_KERNELS_CPU_VECTOR_INL_H_
#undef ANNULUS_KERNELS_CPU_VECTOR_INL_H_
#else
#define ANNULUS_KERNELS_CPU_VECTOR_INL_H_
#endif

#include <hwy/contrib/math/math-inl.h>
#include <hwy/highway.h>

#include <algorithm>
#include <cstdint>
#include <limits>

#include "kernels/base/bfloat16.h"

HWY_BEFORE_NAMESPACE();
namespace annulus::kernels::cpu {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

using F32 = hn::ScalableTag<float>;
using OneF32 = hn::CappedTag<float, 1>;

// The lanes of `d` from p on, as f32.
template <class D>
HWY_INLINE hn::Vec<D> LoadF32(D d, const float* p) {
  return hn::LoadU(d, p);
}
template <class D>
HWY_INLINE hn::Vec<D> LoadF32(D d, const BFloat16* p) {
  const hn::Rebind<uint16_t, D> half;
  const hn::Rebind<uint32_t, D> bits;
  const auto upper = hn::PromoteTo(bits, hn::LoadU(half, &p->bits));
  return hn::BitCast(d, hn::ShiftLeft<16>(upper));
}

// The reverse, rounded as ToBFloat16 does. (Highway's own demotion to bf16 truncates.)
template <class D>
HWY_INLINE void StoreF32(hn::Vec<D> v, D d, float* p) {
  hn::StoreU(v, d, p);
}
template <class D>
HWY_INLINE void StoreF32(hn::Vec<D> v, D, BFloat16* p) {
  const hn::Rebind<uint16_t, D> half;
  const hn::Rebind<uint32_t, D> du;
  const hn::Rebind<int32_t, D> di;
  const auto bits = hn::BitCast(du, v);
  const auto odd = hn::And(hn::ShiftRight<16>(bits), hn::Set(du, 1u));
  const auto rounded = hn::Add(bits, hn::Add(odd, hn::Set(du, 0x7fffu)));
  const auto quiet = hn::Or(bits, hn::Set(du, 0x00400000u));
  const auto nan = hn::RebindMask(du, hn::IsNaN(v));
  const auto upper = hn::ShiftRight<16>(hn::IfThenElse(nan, quiet, rounded));
  // Fits 16 bits, so that the demotion, which saturates, keeps it.
  hn::StoreU(hn::DemoteTo(half, hn::BitCast(di, upper)), half, &p->bits);
}

// Calls op(tag, i) so that the lanes of `tag` from i on cover [0, count) once: whole vectors, then
// single lanes. A lane's arithmetic is the same in both.
template <class Op>
HWY_INLINE void ForEach(int64_t count, const Op& op) {
  const F32 d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  int64_t i = 0;
  for (; i + lanes <= count; i += lanes) op(d, i);
  const OneF32 one;
  for (; i < count; ++i) op(one, i);
}

// The sum over [0, count) of the lanes of op(tag, i), four vectors of partial sums at a time.
template <class Op>
HWY_INLINE float SumOf(int64_t count, const Op& op) {
  const F32 d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  auto s0 = hn::Zero(d), s1 = hn::Zero(d), s2 = hn::Zero(d), s3 = hn::Zero(d);
  int64_t i = 0;
  for (; i + 4 * lanes <= count; i += 4 * lanes) {
    s0 = hn::Add(s0, op(d, i));
    s1 = hn::Add(s1, op(d, i + lanes));
    s2 = hn::Add(s2, op(d, i + 2 * lanes));
    s3 = hn::Add(s3, op(d, i + 3 * lanes));
  }
  for (; i + lanes <= count; i += lanes) s0 = hn::Add(s0, op(d, i));
  float sum = hn::GetLane(hn::SumOfLanes(d, hn::Add(hn::Add(s0, s1), hn::Add(s2, s3))));
  const OneF32 one;
  for (; i < count; ++i) sum += hn::GetLane(op(one, i));
  return sum;
}

// The largest of `count` values; -inf of none.
HWY_INLINE float MaxOf(const float* x, int64_t count) {
  const F32 d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  auto max = hn::Set(d, -std::numeric_limits<float>::infinity());
  int64_t i = 0;
  for (; i + lanes <= count; i += lanes) max = hn::Max(max, hn::LoadU(d, x + i));
  float result = hn::GetLane(hn::MaxOfLanes(d, max));
  for (; i < count; ++i) result = std::max(result, x[i]);
  return result;
}

// exp(x) for x <= 0; a NaN stays one (Highway's Exp makes it 0, which would hide a broken run).
template <class D, class V>
HWY_INLINE V ExpNonPositive(D d, V x) {
  return hn::IfThenElse(hn::IsNaN(x), x, hn::Exp(d, x));
}

}  // namespace HWY_NAMESPACE
}  // namespace annulus::kernels::cpu
HWY_AFTER_NAMESPACE();

#endif
