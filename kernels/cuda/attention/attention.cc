#include "kernels/cuda/attention/attention.h"

#include <algorithm>
#include <initializer_list>

#include "kernels/cuda/attention/folds.h"
#include "kernels/cuda/attention/row_passes.h"
#include "kernels/cuda/attention/state.h"

namespace annulus::kernels::cuda {
namespace {

constexpr int64_t kLargestMmaHead = 128;

template <class T>
ForwardLaunch<T> LaunchOf(const AttentionForwardArgs& args, const KeyBlock& block,
                          const AttentionDevice& device) {
  const AttentionProblem& p = args.problem;
  const ForwardState state(p, args.state.data);
  return {.fold = {.shape = FoldShape(p, block.positions.tokens()),
                   .mask = MakeDeviceMask(p.mask, state.document_first),
                   .queries = {},
                   .keys = {},
                   .q = args.q.As<T>(),
                   .k = block.k.As<T>(),
                   .v = block.v.As<T>(),
                   .out = state.out,
                   .max = state.max,
                   .sum = state.sum},
          .queries = p.queries,
          .keys = block.positions,
          .batch = static_cast<int>(p.batch),
          .stream = device.stream};
}

template <class T>
BackwardLaunch<T> LaunchOf(const AttentionBackwardArgs& args, const KeyBlock& block,
                           const KeyBlockGradient& gradient, const AttentionDevice& device) {
  const AttentionProblem& p = args.problem;
  const BackwardState state(p, args.state.data);
  return {.fold = {.shape = FoldShape(p, block.positions.tokens()),
                   .mask = MakeDeviceMask(p.mask, state.document_first),
                   .queries = {},
                   .keys = {},
                   .q = args.q.As<T>(),
                   .k = block.k.As<T>(),
                   .v = block.v.As<T>(),
                   .dout = args.dout.As<T>(),
                   .lse2 = state.lse2,
                   .delta = state.delta,
                   .dq = state.dq,
                   .dk = gradient.dk.As<float>(),
                   .dv = gradient.dv.As<float>()},
          .queries = p.queries,
          .keys = block.positions,
          .batch = static_cast<int>(p.batch),
          .stream = device.stream};
}

// Kernels take sequences that follow each other. Keys that are sliced out of longer ones do not:
// each sequence is a fold of its own then.
bool FollowEachOther(int64_t batch, std::initializer_list<ConstView> tensors) {
  const auto follows = [](const ConstView& x) { return x.stride[0] == x.dim(1) * x.stride[1]; };
  return batch == 1 || std::all_of(tensors.begin(), tensors.end(), follows);
}

// The fold of sequence b alone.
template <class T>
ForwardLaunch<T> SequenceOf(ForwardLaunch<T> launch, const KeyBlock& block, int64_t b) {
  ForwardFold<T>& f = launch.fold;
  const int64_t rows = int64_t{f.shape.heads} * f.shape.query_tokens;
  f.q += b * rows * f.shape.head_dim;
  f.k += b * block.k.stride[0];
  f.v += b * block.v.stride[0];
  f.out += b * rows * f.shape.head_dim;
  f.max += b * rows;
  f.sum += b * rows;
  launch.batch = 1;
  return launch;
}

template <class T>
BackwardLaunch<T> SequenceOf(BackwardLaunch<T> launch, const KeyBlock& block,
                             const KeyBlockGradient& gradient, int64_t b) {
  BackwardFold<T>& f = launch.fold;
  const int64_t rows = int64_t{f.shape.heads} * f.shape.query_tokens;
  f.q += b * rows * f.shape.head_dim;
  f.k += b * block.k.stride[0];
  f.v += b * block.v.stride[0];
  f.dout += b * rows * f.shape.head_dim;
  f.lse2 += b * rows;
  f.delta += b * rows;
  f.dq += b * rows * f.shape.head_dim;
  f.dk += b * gradient.dk.stride[0];
  f.dv += b * gradient.dv.stride[0];
  launch.batch = 1;
  return launch;
}

void Launch(const ForwardLaunch<float>& launch, AttentionKernels) { GenericForwardFold(launch); }
void Launch(const ForwardLaunch<BFloat16>& launch, AttentionKernels kernels) {
  switch (kernels) {
    case AttentionKernels::kHopper:
      return HopperForwardFold(launch);
    case AttentionKernels::kMma:
      return MmaForwardFold(launch);
    case AttentionKernels::kGeneric:
      return GenericForwardFold(launch);
  }
}

void Launch(const BackwardLaunch<float>& launch, AttentionKernels) { GenericBackwardFold(launch); }
void Launch(const BackwardLaunch<BFloat16>& launch, AttentionKernels kernels) {
  switch (kernels) {
    case AttentionKernels::kHopper:
      return HopperBackwardFold(launch);
    case AttentionKernels::kMma:
      return MmaBackwardFold(launch);
    case AttentionKernels::kGeneric:
      return GenericBackwardFold(launch);
  }
}

bool IsEmpty(const AttentionProblem& p) { return AllRows(p) == 0; }

bool IsEmpty(const AttentionProblem& p, const KeyBlock& block) {
  return IsEmpty(p) || block.positions.tokens() == 0;
}

}  // namespace

std::string_view NameOf(AttentionKernels kernels) {
  switch (kernels) {
    case AttentionKernels::kGeneric:
      return "generic";
    case AttentionKernels::kMma:
      return "mma";
    case AttentionKernels::kHopper:
      return "hopper";
  }
  return "?";
}

AttentionKernels ChooseAttention(const AttentionProblem& p, int capability) {
  // The tensor cores' kernels take the maximum before they scale.
  const bool mma = p.dtype == DType::kBF16 && p.scale > 0 && p.head_dim % 8 == 0 &&
                   p.head_dim <= kLargestMmaHead;
  if (!mma || capability < 80) return AttentionKernels::kGeneric;
  const bool hopper = capability == 90 && (p.head_dim == 64 || p.head_dim == 128) &&
                      p.mask.kind != MaskKind::kBlockSparse;
  return hopper ? AttentionKernels::kHopper : AttentionKernels::kMma;
}

int64_t AttentionForwardStateBytes(const AttentionProblem& p) {
  return ForwardState(p, nullptr).bytes;
}

int64_t AttentionBackwardStateBytes(const AttentionProblem& p) {
  return BackwardState(p, nullptr).bytes;
}

void AttentionForwardBegin(const AttentionForwardArgs& args, const AttentionDevice& device) {
  const AttentionProblem& p = args.problem;
  if (IsEmpty(p)) return;
  BeginForwardRows(args, device.stream);
  if (DocumentQueries(p) == 0) return;
  FillDocumentFirst(p, ForwardState(p, args.state.data).document_first, device.stream);
}

void AttentionForwardFold(const AttentionForwardArgs& args, const KeyBlock& block,
                          const AttentionDevice& device) {
  const AttentionProblem& p = args.problem;
  if (IsEmpty(p, block)) return;
  const AttentionKernels kernels = ChooseAttention(p, device.capability);
  const auto fold = [&]<class T>(const T&) {
    const auto all = LaunchOf<T>(args, block, device);
    if (FollowEachOther(p.batch, {block.k, block.v})) return Launch(all, kernels);
    for (int64_t b = 0; b < p.batch; ++b) Launch(SequenceOf(all, block, b), kernels);
  };
  p.dtype == DType::kF32 ? fold(float()) : fold(BFloat16());
}

void AttentionForwardFinish(const AttentionForwardArgs& args, View out, View lse,
                            const AttentionDevice& device) {
  if (IsEmpty(args.problem)) return;
  FinishForwardRows(args, out, lse, device.stream);
}

void AttentionBackwardBegin(const AttentionBackwardArgs& args, const AttentionDevice& device) {
  const AttentionProblem& p = args.problem;
  if (IsEmpty(p)) return;
  BeginBackwardRows(args, device.stream);
  if (DocumentQueries(p) == 0) return;
  FillDocumentFirst(p, BackwardState(p, args.state.data).document_first, device.stream);
}

void AttentionBackwardFold(const AttentionBackwardArgs& args, const KeyBlock& block,
                           const KeyBlockGradient& gradient, const AttentionDevice& device) {
  const AttentionProblem& p = args.problem;
  if (IsEmpty(p, block)) return;
  const AttentionKernels kernels = ChooseAttention(p, device.capability);
  const auto fold = [&]<class T>(const T&) {
    const auto all = LaunchOf<T>(args, block, gradient, device);
    if (FollowEachOther(p.batch, {block.k, block.v, gradient.dk, gradient.dv})) {
      return Launch(all, kernels);
    }
    for (int64_t b = 0; b < p.batch; ++b) Launch(SequenceOf(all, block, gradient, b), kernels);
  };
  p.dtype == DType::kF32 ? fold(float()) : fold(BFloat16());
}

void AttentionBackwardFinish(const AttentionBackwardArgs& args, View dq,
                             const AttentionDevice& device) {
  if (IsEmpty(args.problem)) return;
  FinishBackwardRows(args, dq, device.stream);
}

}  // namespace annulus::kernels::cuda
