#include "kernels/cpu/attention/attention.h"

#include "kernels/cpu/attention/fused_attention.h"
#include "kernels/cpu/attention/tile_tables.h"

namespace annulus::kernels::cpu {
namespace {

// Sizes do not depend on threads but by the scratch of each.
FusedAttention Fused(const AttentionProblem& problem, int threads = 1) {
  return {BestTileKernels(problem.dtype), threads};
}

}  // namespace

int64_t AttentionForwardStateBytes(const AttentionProblem& problem) {
  return Fused(problem).ForwardStateBytes(problem);
}
int64_t AttentionForwardScratchBytes(const AttentionProblem& problem, int64_t key_tokens,
                                     int threads) {
  return Fused(problem, threads).ForwardScratchBytes(problem, key_tokens);
}
void AttentionForwardBegin(const AttentionForwardArgs& args, int threads) {
  Fused(args.problem, threads).ForwardBegin(args);
}
void AttentionForwardFold(const AttentionForwardArgs& args, const KeyBlock& block, View scratch,
                          int threads) {
  Fused(args.problem, threads).ForwardFold(args, block, scratch);
}
void AttentionForwardLast(const AttentionForwardArgs& args, const KeyBlock& block,
                          const AttentionOutputs& outputs, View scratch, int threads) {
  Fused(args.problem, threads).ForwardLast(args, block, outputs, scratch);
}
void AttentionForwardFinish(const AttentionForwardArgs& args, const AttentionOutputs& outputs,
                            int threads) {
  Fused(args.problem, threads).ForwardFinish(args, outputs);
}

int64_t AttentionBackwardStateBytes(const AttentionProblem& problem) {
  return Fused(problem).BackwardStateBytes(problem);
}
int64_t AttentionBackwardScratchBytes(const AttentionProblem& problem, int64_t key_tokens,
                                      int threads) {
  return Fused(problem, threads).BackwardScratchBytes(problem, key_tokens);
}
void AttentionBackwardBegin(const AttentionBackwardArgs& args, int threads) {
  Fused(args.problem, threads).BackwardBegin(args);
}
void AttentionBackwardFold(const AttentionBackwardArgs& args, const KeyBlock& block,
                           const KeyBlockGradient& gradient, View scratch, int threads) {
  Fused(args.problem, threads).BackwardFold(args, block, gradient, scratch);
}
void AttentionBackwardFinish(const AttentionBackwardArgs& args, View dq, int threads) {
  Fused(args.problem, threads).BackwardFinish(args, dq);
}

std::string AttentionIsa(DType dtype) { return BestTileKernels(dtype).isa; }

}  // namespace annulus::kernels::cpu
