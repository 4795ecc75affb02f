// Fused attention on CPU cores; contracts are those of KernelTable's methods of the same name.
#pragma once

#include <cstdint>
#include <string>

#include "kernels/base/ops.h"

namespace annulus::kernels::cpu {

int64_t AttentionForwardStateBytes(const AttentionProblem& problem);
int64_t AttentionForwardScratchBytes(const AttentionProblem& problem, int64_t key_tokens,
                                     int threads);
void AttentionForwardBegin(const AttentionForwardArgs& args, int threads);
void AttentionForwardFold(const AttentionForwardArgs& args, const KeyBlock& block, View scratch,
                          int threads);
void AttentionForwardLast(const AttentionForwardArgs& args, const KeyBlock& block,
                          const AttentionOutputs& outputs, View scratch, int threads);
void AttentionForwardFinish(const AttentionForwardArgs& args, const AttentionOutputs& outputs,
                            int threads);

int64_t AttentionBackwardStateBytes(const AttentionProblem& problem);
int64_t AttentionBackwardScratchBytes(const AttentionProblem& problem, int64_t key_tokens,
                                      int threads);
void AttentionBackwardBegin(const AttentionBackwardArgs& args, int threads);
void AttentionBackwardFold(const AttentionBackwardArgs& args, const KeyBlock& block,
                           const KeyBlockGradient& gradient, View scratch, int threads);
void AttentionBackwardFinish(const AttentionBackwardArgs& args, View dq, int threads);

// The instruction set that serves tensors of `dtype` here, as in "avx512" or "avx2".
std::string AttentionIsa(DType dtype);

}  // namespace annulus::kernels::cpu
