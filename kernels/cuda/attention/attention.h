// Fused attention on CUDA devices; contracts are those of KernelTable's methods of the same name.
//
// Nothing here waits, allocates or copies between host and device: every call puts kernels on the
// stream and returns. Kernels are chosen by problem and device (ChooseAttention); the layouts of
// state and scratch are the same for all of them.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>
#include <string_view>

#include "kernels/base/ops.h"

namespace annulus::kernels::cuda {

// Who computes an attention. Every problem that cores take is taken here; fast are bf16 at head
// sizes of 64 and 128 (others up to 128 are padded to those), and f32 within what FMAs give.
enum class AttentionKernels : uint8_t {
  kGeneric,  // f32 FMAs: f32, and any head size
  kMma,      // bf16 tensor cores, sm_80 and later: head sizes up to 128 that 8 divides
  kHopper,   // the same by wgmma and TMA, sm_90 alone: head sizes 64 and 128, no block pattern
};
std::string_view NameOf(AttentionKernels kernels);

// Where a call runs.
struct AttentionDevice {
  cudaStream_t stream = nullptr;
  int capability = 80;  // 10 * major + minor
};

// The fastest kernels that can take `problem` on a device of this compute capability.
AttentionKernels ChooseAttention(const AttentionProblem& problem, int capability);

// Bytes of state; scratch is none. Pure functions of the problem, the same on every device.
// Forward: T * D f32 per query head, a row maximum and a row sum; with documents, a key per query.
// Backward: T * D f32 per query head, three more words for every row; with documents, a key per
// query.
int64_t AttentionForwardStateBytes(const AttentionProblem& problem);
int64_t AttentionBackwardStateBytes(const AttentionProblem& problem);

// Tensors of `args` are device memory, aligned to 16 bytes; document starts are host memory, read
// before the call returns. Positions and the length are below 2^31.
void AttentionForwardBegin(const AttentionForwardArgs& args, const AttentionDevice& device);
void AttentionForwardFold(const AttentionForwardArgs& args, const KeyBlock& block,
                          const AttentionDevice& device);
void AttentionForwardLast(const AttentionForwardArgs& args, const KeyBlock& block,
                          const AttentionOutputs& outputs, const AttentionDevice& device);
void AttentionForwardFinish(const AttentionForwardArgs& args, const AttentionOutputs& outputs,
                            const AttentionDevice& device);

// Blocks add to one place in one order: the same problem gives the same bits.
void AttentionBackwardBegin(const AttentionBackwardArgs& args, const AttentionDevice& device);
void AttentionBackwardFold(const AttentionBackwardArgs& args, const KeyBlock& block,
                           const KeyBlockGradient& gradient, const AttentionDevice& device);
void AttentionBackwardFinish(const AttentionBackwardArgs& args, View dq,
                             const AttentionDevice& device);

}  // namespace annulus::kernels::cuda
