// Rotary position embedding. The table takes a sine and a cosine in float64 an entry, once per set
// of positions; the rotation reads and writes x once: 3 FLOPs an element.
#include <cmath>

#include "kernels/cpu/elementwise.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/rope.cc"
#include <hwy/foreach_target.h>
// Must come after foreach_target.h.
#include "kernels/cpu/parallel_blocks.h"
#include "kernels/cpu/vector-inl.h"

HWY_BEFORE_NAMESPACE();
namespace annulus::kernels::cpu {
namespace HWY_NAMESPACE {

template <class T>
void RotateTokensOf(const RopeArgs& args, int64_t begin, int64_t end) {
  const int64_t tokens = args.x.dim(1), heads = args.x.dim(2), half = args.x.dim(3) / 2;
  const float sign = args.inverse ? -1.0f : 1.0f;
  for (int64_t r = begin; r < end; ++r) {
    const float* cosine = args.cosine.As<float>() + r % tokens * half;
    const float* sine = args.sine.As<float>() + r % tokens * half;
    for (int64_t head = 0; head < heads; ++head) {
      T* first = args.x.As<T>() + (r * heads + head) * 2 * half;
      T* second = first + half;
      ForEach(half, [&](auto d, int64_t i) HWY_ATTR {
        const auto c = hn::LoadU(d, cosine + i);
        const auto s = hn::Mul(hn::LoadU(d, sine + i), hn::Set(d, sign));
        const auto a = LoadF32(d, first + i);
        const auto b = LoadF32(d, second + i);
        StoreF32(hn::NegMulAdd(b, s, hn::Mul(a, c)), d, first + i);
        StoreF32(hn::MulAdd(a, s, hn::Mul(b, c)), d, second + i);
      });
    }
  }
}

// Tokens [begin, end) of the B*T tokens.
void RotateTokens(const RopeArgs& args, int64_t begin, int64_t end) {
  args.x.dtype == DType::kBF16 ? RotateTokensOf<BFloat16>(args, begin, end)
                               : RotateTokensOf<float>(args, begin, end);
}

}  // namespace HWY_NAMESPACE
}  // namespace annulus::kernels::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace annulus::kernels::cpu {
namespace {

HWY_EXPORT(RotateTokens);

// Tokens [begin, end) of the table. std::cos and std::sin reduce any angle exactly.
void FillTable(const RopeTableArgs& args, int64_t begin, int64_t end) {
  const int64_t half = args.cosine.dim(1);
  float* cosine = args.cosine.As<float>();
  float* sine = args.sine.As<float>();
  for (int64_t i = 0; i < half; ++i) {
    const double exponent = -static_cast<double>(i) / static_cast<double>(half);
    const double frequency = std::pow(args.theta, exponent);
    for (int64_t t = begin; t < end; ++t) {
      const double angle = static_cast<double>(args.positions.at(t)) * frequency;
      cosine[t * half + i] = static_cast<float>(std::cos(angle));
      sine[t * half + i] = static_cast<float>(std::sin(angle));
    }
  }
}

}  // namespace

void RopeTable(const RopeTableArgs& args, int threads) {
  constexpr int64_t kCost = 16;  // of an entry, in elements of an ordinary kernel
  const int64_t block = BlockRows(kCost * args.cosine.dim(1));
  ParallelBlocks(args.positions.tokens(), block, threads,
                 [&](int64_t begin, int64_t end) { FillTable(args, begin, end); });
}

void Rope(const RopeArgs& args, int threads) {
  const int64_t block = BlockRows(args.x.dim(2) * args.x.dim(3));
  ParallelBlocks(args.x.dim(0) * args.x.dim(1), block, threads, [&](int64_t begin, int64_t end) {
    HWY_DYNAMIC_DISPATCH(RotateTokens)(args, begin, end);
  });
}

}  // namespace annulus::kernels::cpu
#endif  // HWY_ONCE
