// Cross-entropy and its gradient, a row at a time while it is in cache: one pass for the maximum,
// one for the exponentials and their sum, one that scales them to the gradient.
#include <algorithm>
#include <cmath>

#include "kernels/cpu/elementwise.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/cross_entropy.cc"
#include <hwy/foreach_target.h>
// Must come after foreach_target.h.
#include "kernels/cpu/parallel_blocks.h"
#include "kernels/cpu/vector-inl.h"

HWY_BEFORE_NAMESPACE();
namespace annulus::kernels::cpu {
namespace HWY_NAMESPACE {

// The loss of one row.
float LossOfRow(const float* logits, int32_t label, int64_t vocabulary) {
  const float max = MaxOf(logits, vocabulary);
  const float sum = SumOf(vocabulary, [&](auto d, int64_t i) HWY_ATTR {
    return ExpNonPositive(d, hn::Sub(hn::LoadU(d, logits + i), hn::Set(d, max)));
  });
  return std::log(sum) + (max - logits[label]);
}

// The same, and gradient = scale * (softmax - onehot(label)), which may begin where the logits do:
// no element of it lies behind the logit it comes from.
template <class T>
float LossAndGradientOfRow(float* logits, int32_t label, int64_t vocabulary, float scale,
                           T* gradient) {
  const float max = MaxOf(logits, vocabulary);
  const float below_max = max - logits[label];
  const float sum = SumOf(vocabulary, [&](auto d, int64_t i) HWY_ATTR {
    const auto e = ExpNonPositive(d, hn::Sub(hn::LoadU(d, logits + i), hn::Set(d, max)));
    hn::StoreU(e, d, logits + i);
    return e;
  });
  // softmax - 1 in the label's place, before it is rounded.
  const float at_label = logits[label] * (scale / sum) - scale;
  ForEach(vocabulary, [&](auto d, int64_t i) HWY_ATTR {
    StoreF32(hn::Mul(hn::LoadU(d, logits + i), hn::Set(d, scale / sum)), d, gradient + i);
  });
  StoreF32(hn::Set(OneF32(), at_label), OneF32(), gradient + label);
  return std::log(sum) + below_max;
}

void LossesOfRows(const CrossEntropyArgs& args, int64_t begin, int64_t end) {
  const int64_t vocabulary = args.logits.dim(1);
  for (int64_t r = begin; r < end; ++r) {
    const int32_t label = args.labels.As<int32_t>()[r];
    const float* logits = args.logits.As<float>() + r * vocabulary;
    args.loss.As<float>()[r] = label < 0 ? 0 : LossOfRow(logits, label, vocabulary);
  }
}

template <class T>
void LossesAndGradientsOfRows(const CrossEntropyArgs& args, int64_t begin, int64_t end) {
  const int64_t vocabulary = args.logits.dim(1);
  for (int64_t r = begin; r < end; ++r) {
    float& loss = args.loss.As<float>()[r];
    const int32_t label = args.labels.As<int32_t>()[r];
    T* gradient = args.gradient.As<T>() + r * args.gradient.stride[0];
    if (label < 0) {
      loss = 0;
      std::fill_n(gradient, vocabulary, T{});
    } else {
      float* logits = args.logits.As<float>() + r * vocabulary;
      loss = LossAndGradientOfRow(logits, label, vocabulary, args.gradient_scale, gradient);
    }
  }
}

// Rows [begin, end).
void CrossEntropyRows(const CrossEntropyArgs& args, int64_t begin, int64_t end) {
  if (args.gradient.rank == 0) {
    LossesOfRows(args, begin, end);
  } else if (args.gradient.dtype == DType::kBF16) {
    LossesAndGradientsOfRows<BFloat16>(args, begin, end);
  } else {
    LossesAndGradientsOfRows<float>(args, begin, end);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace annulus::kernels::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace annulus::kernels::cpu {
namespace {

HWY_EXPORT(CrossEntropyRows);

}  // namespace

void CrossEntropy(const CrossEntropyArgs& args, int threads) {
  const int64_t rows = args.logits.dim(0), vocabulary = args.logits.dim(1);
  const auto* labels = args.labels.As<int32_t>();
  for (int64_t r = 0; r < rows; ++r) {
    Check(labels[r] < vocabulary, "label {} at {} is outside a vocabulary of {}", labels[r], r,
          vocabulary);
  }
  ParallelBlocks(rows, BlockRows(vocabulary), threads, [&](int64_t begin, int64_t end) {
    HWY_DYNAMIC_DISPATCH(CrossEntropyRows)(args, begin, end);
  });
}

}  // namespace annulus::kernels::cpu
#endif  // HWY_ONCE
