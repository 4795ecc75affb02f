// Root mean square normalisation.
// Forward reads x twice (the second time from cache) and writes y: 4 FLOPs an element.
// Backward reads dy, x and dx and writes dx: 10 FLOPs an element.
#include <algorithm>
#include <cmath>

#include "kernels/cpu/elementwise.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/norm.cc"
#include <hwy/foreach_target.h>
// Must come after foreach_target.h.
#include "kernels/cpu/parallel_blocks.h"
#include "kernels/cpu/vector-inl.h"

HWY_BEFORE_NAMESPACE();
namespace annulus::kernels::cpu {
namespace HWY_NAMESPACE {

template <class T>
void RmsNormRowsOf(const RmsNormArgs& args, int64_t begin, int64_t end) {
  const int64_t hidden = args.x.dim(1);
  const T* weight = args.weight.As<T>();
  for (int64_t r = begin; r < end; ++r) {
    const T* x = args.x.As<T>() + r * hidden;
    T* y = args.y.As<T>() + r * hidden;
    const float squares = SumOf(hidden, [&](auto d, int64_t i) HWY_ATTR {
      const auto v = LoadF32(d, x + i);
      return hn::Mul(v, v);
    });
    const float rstd = 1.0f / std::sqrt(squares / static_cast<float>(hidden) + args.eps);
    args.rstd.As<float>()[r] = rstd;
    ForEach(hidden, [&](auto d, int64_t i) HWY_ATTR {
      const auto normal = hn::Mul(LoadF32(d, x + i), hn::Set(d, rstd));
      StoreF32(hn::Mul(normal, LoadF32(d, weight + i)), d, y + i);
    });
  }
}

// Rows [begin, end).
void RmsNormRows(const RmsNormArgs& args, int64_t begin, int64_t end) {
  args.x.dtype == DType::kBF16 ? RmsNormRowsOf<BFloat16>(args, begin, end)
                               : RmsNormRowsOf<float>(args, begin, end);
}

template <class T>
void RmsNormBackwardRowsOf(const RmsNormBackwardArgs& args, int64_t begin, int64_t end,
                           float* dweight) {
  const int64_t hidden = args.x.dim(1);
  const T* weight = args.weight.As<T>();
  std::fill_n(dweight, hidden, 0.0f);
  for (int64_t r = begin; r < end; ++r) {
    const float rstd = args.rstd.As<float>()[r];
    const T* x = args.x.As<T>() + r * hidden;
    const T* dy = args.dy.As<T>() + r * hidden;
    T* dx = args.dx.As<T>() + r * hidden;
    const float dot = SumOf(hidden, [&](auto d, int64_t i) HWY_ATTR {
      const auto g = hn::Mul(LoadF32(d, dy + i), LoadF32(d, weight + i));
      return hn::Mul(g, LoadF32(d, x + i));
    });
    const float mean = dot * rstd / static_cast<float>(hidden);
    ForEach(hidden, [&](auto d, int64_t i) HWY_ATTR {
      const auto scale = hn::Set(d, rstd);
      const auto output_gradient = LoadF32(d, dy + i);
      const auto normal = hn::Mul(LoadF32(d, x + i), scale);
      const auto g = hn::Mul(output_gradient, LoadF32(d, weight + i));
      const auto through = hn::NegMulAdd(normal, hn::Set(d, mean), g);
      StoreF32(hn::MulAdd(through, scale, LoadF32(d, dx + i)), d, dx + i);
      hn::StoreU(hn::MulAdd(output_gradient, normal, hn::LoadU(d, dweight + i)), d, dweight + i);
    });
  }
}

// With n = x rstd and g = dy weight: dx += rstd (g - n mean(g n)). Overwrites dweight [C] with the
// sum of dy n over rows [begin, end).
void RmsNormBackwardRows(const RmsNormBackwardArgs& args, int64_t begin, int64_t end,
                         float* dweight) {
  args.x.dtype == DType::kBF16 ? RmsNormBackwardRowsOf<BFloat16>(args, begin, end, dweight)
                               : RmsNormBackwardRowsOf<float>(args, begin, end, dweight);
}

// Columns [begin, end) of dweight [C] += those of the rows of `partials` [count,C], in order.
void AddPartials(const float* partials, int64_t count, View dweight, int64_t begin, int64_t end) {
  const int64_t hidden = dweight.dim(0);
  float* sum = dweight.As<float>();
  ForEach(end - begin, [&](auto d, int64_t i) HWY_ATTR {
    const int64_t column = begin + i;
    auto total = hn::LoadU(d, partials + column);
    for (int64_t p = 1; p < count; ++p) {
      total = hn::Add(total, hn::LoadU(d, partials + p * hidden + column));
    }
    hn::StoreU(hn::Add(hn::LoadU(d, sum + column), total), d, sum + column);
  });
}

}  // namespace HWY_NAMESPACE
}  // namespace annulus::kernels::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace annulus::kernels::cpu {
namespace {

HWY_EXPORT(RmsNormRows);
HWY_EXPORT(RmsNormBackwardRows);
HWY_EXPORT(AddPartials);

// dweight is summed per block of rows, then over blocks: at most kMaxPartials rows of scratch, and
// a number of blocks that depends on the shape alone.
constexpr int64_t kMaxPartials = 64;
constexpr int64_t kMinPartialRows = 32;

int64_t PartialRows(int64_t rows) {
  return std::max(kMinPartialRows, (rows + kMaxPartials - 1) / kMaxPartials);
}

int64_t Partials(int64_t rows) { return (rows + PartialRows(rows) - 1) / PartialRows(rows); }

}  // namespace

void RmsNorm(const RmsNormArgs& args, int threads) {
  ParallelBlocks(args.x.dim(0), BlockRows(args.x.dim(1)), threads, [&](int64_t begin, int64_t end) {
    HWY_DYNAMIC_DISPATCH(RmsNormRows)(args, begin, end);
  });
}

int64_t RmsNormBackwardScratchBytes(const RmsNormBackwardArgs& args) {
  return Partials(args.x.dim(0)) * args.x.dim(1) * SizeOf(DType::kF32);
}

void RmsNormBackward(const RmsNormBackwardArgs& args, View scratch, int threads) {
  const int64_t rows = args.x.dim(0), hidden = args.x.dim(1);
  if (rows == 0) return;
  auto* partials = static_cast<float*>(scratch.data);
  const int64_t block = PartialRows(rows);
  const bool small = rows * hidden <= kBlockElements;
  ParallelBlocks(rows, block, small ? 1 : threads, [&](int64_t begin, int64_t end) {
    HWY_DYNAMIC_DISPATCH(RmsNormBackwardRows)
    (args, begin, end, partials + begin / block * hidden);
  });
  ParallelBlocks(hidden, BlockRows(Partials(rows)), threads, [&](int64_t begin, int64_t end) {
    HWY_DYNAMIC_DISPATCH(AddPartials)(partials, Partials(rows), args.dweight, begin, end);
  });
}

}  // namespace annulus::kernels::cpu
#endif  // HWY_ONCE
