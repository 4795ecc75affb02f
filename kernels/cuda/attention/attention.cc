#include "kernels/cuda/attention/attention.h"

#include "kernels/cuda/attention/folds.h"
#include "kernels/cuda/attention/row_passes.h"
#include "kernels/cuda/attention/state.h"

namespace annulus::kernels::cuda {
namespace {

constexpr int64_t kLargestMmaHead = 128;

template <class T>
ForwardLaunch<T> LaunchOf(const AttentionForwardArgs& args, const KeyBlock& block,
                          const AttentionOutputs* last, const AttentionDevice& device) {
  const AttentionProblem& p = args.problem;
  const ForwardState state(p, args.state.data);
  return {.fold = {.shape = FoldShape(p, block.k),
                   .mask = MakeDeviceMask(p.mask, state.document_first),
                   .queries = {},
                   .keys = {},
                   .q = args.q.As<T>(),
                   .k = block.k.As<T>(),
                   .v = block.v.As<T>(),
                   .out = state.out,
                   .max = state.max,
                   .sum = state.sum,
                   .outputs = last == nullptr ? ForwardOutputs<T>() : OutputsOf<T>(*last)},
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
  return {.fold = {.shape = FoldShape(p, block.k),
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
                   .turns = state.turns,
                   .dk = gradient.dk.As<float>(),
                   .dv = gradient.dv.As<float>()},
          .queries = p.queries,
          .keys = block.positions,
          .batch = static_cast<int>(p.batch),
          .stream = device.stream};
}

// Keys of one block lie alike in all their tensors.
void CheckAlike(const KeyBlock& block, const ConstView& other) {
  Check(other.stride == block.k.stride, "{} do not lie as the keys {} do", other, block.k);
}

bool IsEmpty(const AttentionProblem& p) { return AllRows(p) == 0; }

bool IsEmpty(const AttentionProblem& p, const KeyBlock& block) {
  return IsEmpty(p) || block.positions.tokens() == 0;
}

// A fold of queries and keys that are not empty; `last`: what to overwrite with what becomes of
// them, null where that is not the last one.
void LaunchForward(const AttentionForwardArgs& args, const KeyBlock& block,
                   const AttentionOutputs* last, const AttentionDevice& device) {
  CheckAlike(block, block.v);
  switch (ChooseAttention(args.problem, device.capability)) {
    case AttentionKernels::kHopper:
      return HopperForwardFold(LaunchOf<BFloat16>(args, block, last, device));
    case AttentionKernels::kMma:
      return MmaForwardFold(LaunchOf<BFloat16>(args, block, last, device));
    case AttentionKernels::kGeneric:
      break;
  }
  if (args.problem.dtype == DType::kF32) {
    GenericForwardFold(LaunchOf<float>(args, block, last, device));
  } else {
    GenericForwardFold(LaunchOf<BFloat16>(args, block, last, device));
  }
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
  if (!IsEmpty(args.problem, block)) LaunchForward(args, block, nullptr, device);
}

void AttentionForwardLast(const AttentionForwardArgs& args, const KeyBlock& block,
                          const AttentionOutputs& outputs, const AttentionDevice& device) {
  if (IsEmpty(args.problem, block)) return AttentionForwardFinish(args, outputs, device);
  LaunchForward(args, block, &outputs, device);
}

void AttentionForwardFinish(const AttentionForwardArgs& args, const AttentionOutputs& outputs,
                            const AttentionDevice& device) {
  if (IsEmpty(args.problem)) return;
  FinishForwardRows(args, outputs, device.stream);
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
  if (IsEmpty(args.problem, block)) return;
  for (const ConstView& view : {block.v, ConstView(gradient.dk), ConstView(gradient.dv)}) {
    CheckAlike(block, view);
  }
  switch (ChooseAttention(args.problem, device.capability)) {
    case AttentionKernels::kHopper:
      return HopperBackwardFold(LaunchOf<BFloat16>(args, block, gradient, device));
    case AttentionKernels::kMma:
      return MmaBackwardFold(LaunchOf<BFloat16>(args, block, gradient, device));
    case AttentionKernels::kGeneric:
      break;
  }
  if (args.problem.dtype == DType::kF32) {
    GenericBackwardFold(LaunchOf<float>(args, block, gradient, device));
  } else {
    GenericBackwardFold(LaunchOf<BFloat16>(args, block, gradient, device));
  }
}

void AttentionBackwardFinish(const AttentionBackwardArgs& args, View dq,
                             const AttentionDevice& device) {
  if (IsEmpty(args.problem)) return;
  FinishBackwardRows(args, dq, device.stream);
}

}  // namespace annulus::kernels::cuda
