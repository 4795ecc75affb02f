#include "kernels/cpu/attention/attention.h"

#include "kernels/cpu/attention/fused_attention.h"
#include "kernels/cpu/attention/tile_tables.h"

namespace annulus::kernels::cpu {

int64_t AttentionForwardStateBytes(const AttentionProblem& problem) {
  return FusedAttention::ForwardStateBytes(problem);
}
int64_t AttentionForwardScratchBytes(const AttentionProblem& problem, int64_t /*key_tokens*/,
                                     int threads) {
  return FusedAttention::ForwardScratchBytes(problem, threads);
}
void AttentionForwardBegin(const AttentionForwardArgs& args, int threads) {
  FusedAttention(BestTileKernels(), threads).ForwardBegin(args);
}
void AttentionForwardFold(const AttentionForwardArgs& args, const KeyBlock& block, View scratch,
                          int threads) {
  FusedAttention(BestTileKernels(), threads).ForwardFold(args, block, scratch);
}
void AttentionForwardFinish(const AttentionForwardArgs& args, View out, View lse, int threads) {
  FusedAttention(BestTileKernels(), threads).ForwardFinish(args, out, lse);
}

int64_t AttentionBackwardStateBytes(const AttentionProblem& problem) {
  return FusedAttention::BackwardStateBytes(problem);
}
int64_t AttentionBackwardScratchBytes(const AttentionProblem& problem, int64_t /*key_tokens*/,
                                      int threads) {
  return FusedAttention::BackwardScratchBytes(problem, threads);
}
void AttentionBackwardBegin(const AttentionBackwardArgs& args, int threads) {
  FusedAttention(BestTileKernels(), threads).BackwardBegin(args);
}
void AttentionBackwardFold(const AttentionBackwardArgs& args, const KeyBlock& block,
                           const KeyBlockGradient& gradient, View scratch, int threads) {
  FusedAttention(BestTileKernels(), threads).BackwardFold(args, block, gradient, scratch);
}
void AttentionBackwardFinish(const AttentionBackwardArgs& args, View dq, int threads) {
  FusedAttention(BestTileKernels(), threads).BackwardFinish(args, dq);
}

std::string AttentionIsa() { return BestTileKernels().isa; }

}  // namespace annulus::kernels::cpu
