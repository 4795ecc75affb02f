// Sums, conversions and gates of tensors of one shape, read and written once. Bytes an element, of
// an element of b bytes: Add 3b, Convert 6, SwiGlu 3b, its backward 5b. No shared memory.
#include "kernels/cuda/elementwise.h"
#include "kernels/cuda/map.h"

namespace annulus::kernels::cuda {
namespace {

template <class T>
struct AddOp {
  const T* x;
  T* y;

  template <int kWidth>
  __device__ void At(int64_t i) const {
    float a[kWidth], b[kWidth];
    Load(x + i, a);
    Load(y + i, b);
#pragma unroll
    for (int j = 0; j < kWidth; ++j) b[j] += a[j];
    Store(b, y + i);
  }
};

template <class From, class To>
struct ConvertOp {
  const From* from;
  To* to;

  template <int kWidth>
  __device__ void At(int64_t i) const {
    float x[kWidth];
    Load(from + i, x);
    Store(x, to + i);
  }
};

// sigmoid(x) and sigmoid(-x), each to full precision: the exponential is of -|x|, so it neither
// overflows nor cancels.
struct Sigmoids {
  float of_x;
  float of_minus_x;
};

__device__ inline Sigmoids SigmoidsOf(float x) {
  const float e = expf(-fabsf(x));
  const float large = 1.0f / (1.0f + e);
  const float small = e * large;
  return x < 0 ? Sigmoids{small, large} : Sigmoids{large, small};
}

template <class T>
struct SwiGluOp {
  const T* gate;
  const T* up;
  T* y;

  template <int kWidth>
  __device__ void At(int64_t i) const {
    float g[kWidth], u[kWidth];
    Load(gate + i, g);
    Load(up + i, u);
#pragma unroll
    for (int j = 0; j < kWidth; ++j) u[j] *= g[j] * SigmoidsOf(g[j]).of_x;
    Store(u, y + i);
  }
};

// d silu(g)/dg = s (1 + g (1 - s)) with s = sigmoid(g).
template <class T>
struct SwiGluBackwardOp {
  const T* dy;
  const T* gate;
  const T* up;
  T* dgate;
  T* dup;

  template <int kWidth>
  __device__ void At(int64_t i) const {
    float d[kWidth], g[kWidth], u[kWidth];
    Load(dy + i, d);
    Load(gate + i, g);
    Load(up + i, u);
#pragma unroll
    for (int j = 0; j < kWidth; ++j) {
      const Sigmoids s = SigmoidsOf(g[j]);
      const float silu = g[j] * s.of_x;
      const float slope = s.of_x * fmaf(g[j], s.of_minus_x, 1.0f);
      u[j] *= d[j] * slope;
      d[j] *= silu;
    }
    Store(u, dgate + i);
    Store(d, dup + i);
  }
};

}  // namespace

void Add(const AddArgs& args, cudaStream_t stream) {
  WithElement(args.x.dtype, [&](auto element) {
    using T = decltype(element);
    Map<kFullWidth<T>>(AddOp<T>{args.x.As<T>(), args.y.As<T>()}, args.y.size(),
                       Aligned(args.x, args.y), stream, "add");
  });
}

void Convert(const ConvertArgs& args, cudaStream_t stream) {
  const int64_t count = args.to.size();
  constexpr int kWidth = kFullWidth<float>;  // 8 bytes of bf16
  const bool aligned = Aligned(args.from, args.to);
  if (args.to.dtype == DType::kBF16) {
    const ConvertOp<float, BFloat16> op{args.from.As<float>(), args.to.As<BFloat16>()};
    Map<kWidth>(op, count, aligned, stream, "convert to bf16");
  } else {
    const ConvertOp<BFloat16, float> op{args.from.As<BFloat16>(), args.to.As<float>()};
    Map<kWidth>(op, count, aligned, stream, "convert to f32");
  }
}

void SwiGlu(const SwiGluArgs& args, cudaStream_t stream) {
  WithElement(args.gate.dtype, [&](auto element) {
    using T = decltype(element);
    Map<kFullWidth<T>>(SwiGluOp<T>{args.gate.As<T>(), args.up.As<T>(), args.y.As<T>()},
                       args.y.size(), Aligned(args.gate, args.up, args.y), stream, "swiglu");
  });
}

void SwiGluBackward(const SwiGluBackwardArgs& args, cudaStream_t stream) {
  WithElement(args.gate.dtype, [&](auto element) {
    using T = decltype(element);
    const SwiGluBackwardOp<T> op{args.dy.As<T>(), args.gate.As<T>(), args.up.As<T>(),
                                 args.dgate.As<T>(), args.dup.As<T>()};
    Map<kFullWidth<T>>(op, args.dy.size(),
                       Aligned(args.dy, args.gate, args.up, args.dgate, args.dup), stream,
                       "swiglu backward");
  });
}

}  // namespace annulus::kernels::cuda
