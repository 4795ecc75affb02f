// The AdamW update: 28 bytes an element, and 2 more for a bf16 working copy. No shared memory.
#include <cmath>

#include "kernels/cuda/elementwise.h"
#include "kernels/cuda/map.h"

namespace annulus::kernels::cuda {
namespace {

// What is the same for every element of a step, computed in float64 and rounded once.
struct AdamWConstants {
  explicit AdamWConstants(const AdamWArgs& args)
      : beta1(args.beta1),
        beta2(args.beta2),
        one_minus_beta1(static_cast<float>(1.0 - args.beta1)),
        one_minus_beta2(static_cast<float>(1.0 - args.beta2)),
        first_correction(Correction(args.beta1, args.step)),
        second_correction(Correction(args.beta2, args.step)),
        learning_rate(args.learning_rate),
        eps(args.eps),
        weight_decay(args.weight_decay),
        gradient_scale(args.gradient_scale) {}

  static float Correction(double beta, int64_t step) {
    return static_cast<float>(1.0 / (1.0 - std::pow(beta, static_cast<double>(step))));
  }

  float beta1, beta2, one_minus_beta1, one_minus_beta2;
  float first_correction, second_correction;
  float learning_rate, eps, weight_decay, gradient_scale;
};

struct AdamWOp {
  float* parameter;
  const float* gradient;
  float* first_moment;
  float* second_moment;
  BFloat16* working;  // or null
  AdamWConstants step;

  template <int kWidth>
  __device__ void At(int64_t i) const {
    float p[kWidth], g[kWidth], m[kWidth], v[kWidth];
    Load(parameter + i, p);
    Load(gradient + i, g);
    Load(first_moment + i, m);
    Load(second_moment + i, v);
#pragma unroll
    for (int j = 0; j < kWidth; ++j) Update(p[j], g[j], m[j], v[j]);
    Store(p, parameter + i);
    Store(m, first_moment + i);
    Store(v, second_moment + i);
    if (working != nullptr) Store(p, working + i);
  }

  __device__ void Update(float& p, float gradient_of_sum, float& m, float& v) const {
    const float g = gradient_of_sum * step.gradient_scale;
    m = fmaf(m, step.beta1, g * step.one_minus_beta1);
    v = fmaf(v, step.beta2, g * g * step.one_minus_beta2);
    const float root = sqrtf(v * step.second_correction);
    const float direction = m * step.first_correction / (root + step.eps);
    const float change = fmaf(p, step.weight_decay, direction);
    p = fmaf(-change, step.learning_rate, p);
  }
};

}  // namespace

void AdamW(const AdamWArgs& args, cudaStream_t stream) {
  const bool rounds = args.working.rank != 0;
  const AdamWOp op{args.parameter.As<float>(),
                   args.gradient.As<float>(),
                   args.first_moment.As<float>(),
                   args.second_moment.As<float>(),
                   rounds ? args.working.As<BFloat16>() : nullptr,
                   AdamWConstants(args)};
  const bool aligned =
      Aligned(args.parameter, args.gradient, args.first_moment, args.second_moment, args.working);
  Map<kFullWidth<float>>(op, args.parameter.size(), aligned, stream, "adamw");
}

}  // namespace annulus::kernels::cuda
