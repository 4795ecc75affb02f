// Rotary position embedding. The table takes a sine and a cosine in float64 an entry, once per set
// of positions; the rotation reads and writes x once. No shared memory.
#include "kernels/cuda/elementwise.h"
#include "kernels/cuda/map.h"
#include "kernels/cuda/position_runs.h"

namespace annulus::kernels::cuda {
namespace {

struct TableOp {
  PositionRuns positions;
  double theta;
  int64_t half;
  float* cosine;
  float* sine;

  template <int kWidth>
  __device__ void At(int64_t i) const {
    static_assert(kWidth == 1, "an entry is work enough");
    const double exponent = -static_cast<double>(i % half) / static_cast<double>(half);
    const double angle = static_cast<double>(positions.at(i / half)) * pow(theta, exponent);
    cosine[i] = static_cast<float>(cos(angle));
    sine[i] = static_cast<float>(sin(angle));
  }
};

// Of x [B,T,H,D], where i counts the pairs [B,T,H,D/2].
template <class T>
struct RotateOp {
  T* x;
  const float* cosine;
  const float* sine;
  int64_t tokens;
  int64_t heads;
  int64_t half;
  float sign;

  template <int kWidth>
  __device__ void At(int64_t i) const {
    const int64_t head = i / half, pair = i % half;
    const int64_t entry = head / heads % tokens * half + pair;
    T* const first = x + head * 2 * half + pair;
    float a[kWidth], b[kWidth], c[kWidth], s[kWidth];
    Load(first, a);
    Load(first + half, b);
    Load(cosine + entry, c);
    Load(sine + entry, s);
#pragma unroll
    for (int j = 0; j < kWidth; ++j) {
      const float sine_of = sign * s[j], before = a[j];
      a[j] = fmaf(-b[j], sine_of, before * c[j]);
      b[j] = fmaf(before, sine_of, b[j] * c[j]);
    }
    Store(a, first);
    Store(b, first + half);
  }
};

}  // namespace

void RopeTable(const RopeTableArgs& args, cudaStream_t stream) {
  const TableOp op{PositionRuns(args.positions), args.theta, args.cosine.dim(1),
                   args.cosine.As<float>(), args.sine.As<float>()};
  Map<1>(op, args.cosine.size(), /*aligned=*/false, stream, "rope table");
}

void Rope(const RopeArgs& args, cudaStream_t stream) {
  const int64_t half = args.x.dim(3) / 2;
  WithElement(args.x.dtype, [&](auto element) {
    using T = decltype(element);
    constexpr int kWidth = kFullWidth<T>;
    const RotateOp<T> op{args.x.As<T>(),
                         args.cosine.As<float>(),
                         args.sine.As<float>(),
                         args.x.dim(1),
                         args.x.dim(2),
                         half,
                         args.inverse ? -1.0f : 1.0f};
    // An access of so many pairs stays within a head.
    const bool aligned = half % kWidth == 0 && Aligned(args.x, args.cosine, args.sine);
    Map<kWidth>(op, args.x.size() / 2, aligned, stream, "rope");
  });
}

}  // namespace annulus::kernels::cuda
