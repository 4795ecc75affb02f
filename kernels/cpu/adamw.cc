// The AdamW update: 12 FLOPs and 28 bytes an element, and 2 more for a bf16 working copy.
#include <cmath>

#include "kernels/cpu/elementwise.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/adamw.cc"
#include <hwy/foreach_target.h>
// Must come after foreach_target.h.
#include "kernels/cpu/parallel_blocks.h"
#include "kernels/cpu/vector-inl.h"

HWY_BEFORE_NAMESPACE();
namespace annulus::kernels::cpu {
namespace HWY_NAMESPACE {

// What is the same for every element of a step, computed in float64 and rounded once.
struct StepConstants {
  explicit StepConstants(const AdamWArgs& args)
      : one_minus_beta1(static_cast<float>(1.0 - args.beta1)),
        one_minus_beta2(static_cast<float>(1.0 - args.beta2)),
        first_correction(Correction(args.beta1, args.step)),
        second_correction(Correction(args.beta2, args.step)) {}

  static float Correction(double beta, int64_t step) {
    return static_cast<float>(1.0 / (1.0 - std::pow(beta, static_cast<double>(step))));
  }

  float one_minus_beta1, one_minus_beta2;
  float first_correction, second_correction;
};

// Where a bf16 model's working copy goes, beside the f32 master.
struct NoWorkingCopy {
  template <class V, class D>
  HWY_INLINE void Store(V, D, int64_t) const {}
};
struct RoundedCopy {
  BFloat16* to;
  template <class V, class D>
  HWY_INLINE void Store(V parameter, D d, int64_t i) const {
    StoreF32(parameter, d, to + i);
  }
};

template <class Working>
void UpdateBlock(const AdamWArgs& args, const Working& working, int64_t begin, int64_t end) {
  const StepConstants step(args);
  float* parameter = args.parameter.As<float>() + begin;
  const float* gradient = args.gradient.As<float>() + begin;
  float* first_moment = args.first_moment.As<float>() + begin;
  float* second_moment = args.second_moment.As<float>() + begin;
  ForEach(end - begin, [&](auto d, int64_t i) HWY_ATTR {
    const auto set = [&](float value) HWY_ATTR { return hn::Set(d, value); };
    const auto g = hn::Mul(hn::LoadU(d, gradient + i), set(args.gradient_scale));
    const auto m = hn::MulAdd(hn::LoadU(d, first_moment + i), set(args.beta1),
                              hn::Mul(g, set(step.one_minus_beta1)));
    const auto v = hn::MulAdd(hn::LoadU(d, second_moment + i), set(args.beta2),
                              hn::Mul(hn::Mul(g, g), set(step.one_minus_beta2)));
    const auto root = hn::Sqrt(hn::Mul(v, set(step.second_correction)));
    const auto direction =
        hn::Div(hn::Mul(m, set(step.first_correction)), hn::Add(root, set(args.eps)));
    const auto p = hn::LoadU(d, parameter + i);
    const auto change = hn::MulAdd(p, set(args.weight_decay), direction);
    hn::StoreU(m, d, first_moment + i);
    hn::StoreU(v, d, second_moment + i);
    const auto updated = hn::NegMulAdd(change, set(args.learning_rate), p);
    hn::StoreU(updated, d, parameter + i);
    working.Store(updated, d, i);
  });
}

// Elements [begin, end).
void AdamWBlock(const AdamWArgs& args, int64_t begin, int64_t end) {
  if (args.working.rank == 0) {
    UpdateBlock(args, NoWorkingCopy(), begin, end);
  } else {
    UpdateBlock(args, RoundedCopy{args.working.As<BFloat16>() + begin}, begin, end);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace annulus::kernels::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace annulus::kernels::cpu {
namespace {

HWY_EXPORT(AdamWBlock);

}  // namespace

void AdamW(const AdamWArgs& args, int threads) {
  ParallelBlocks(args.parameter.size(), kBlockElements, threads, [&](int64_t begin, int64_t end) {
    HWY_DYNAMIC_DISPATCH(AdamWBlock)(args, begin, end);
  });
}

}  // namespace annulus::kernels::cpu
#endif  // HWY_ONCE
