// Elementwise kernels, losses, the optimizer and reductions on CUDA devices; contracts are those of
// KernelTable's methods of the same name. All but the reductions return before the work on `stream`
// is done. No sum's order depends on anything but shapes: bits are the same in every run.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "kernels/base/ops.h"

namespace annulus::kernels::cuda {

// What kernels tell the host about data that no shape shows: pinned, read after a wait.
struct DataFault;

// AllowedKeys in device memory.
struct AllowedOnDevice {
  const KeySegment* segments;
  const int64_t* first;
};

void RmsNorm(const RmsNormArgs& args, cudaStream_t stream);
int64_t RmsNormBackwardScratchBytes(const RmsNormBackwardArgs& args);
void RmsNormBackward(const RmsNormBackwardArgs& args, View scratch, cudaStream_t stream);
void RopeTable(const RopeTableArgs& args, cudaStream_t stream);
void Rope(const RopeArgs& args, cudaStream_t stream);
void SwiGlu(const SwiGluArgs& args, cudaStream_t stream);
void SwiGluBackward(const SwiGluBackwardArgs& args, cudaStream_t stream);
// `keys` are those of args.keys.
void MaskedSoftmax(const MaskedSoftmaxArgs& args, const AllowedOnDevice& keys, cudaStream_t stream);
void MaskedSoftmaxBackward(const MaskedSoftmaxBackwardArgs& args, cudaStream_t stream);
// Tokens outside the table give rows of NaN, or are left out of the gradient, and a fault.
void Embedding(const EmbeddingArgs& args, DataFault* fault, cudaStream_t stream);
void EmbeddingBackward(const EmbeddingBackwardArgs& args, DataFault* fault, cudaStream_t stream);
// Labels past the vocabulary give a loss of NaN and a fault.
void CrossEntropy(const CrossEntropyArgs& args, DataFault* fault, cudaStream_t stream);
void Add(const AddArgs& args, cudaStream_t stream);
void Convert(const ConvertArgs& args, cudaStream_t stream);
void CopyStrided(const CopyStridedArgs& args, cudaStream_t stream);
void AdamW(const AdamWArgs& args, cudaStream_t stream);

}  // namespace annulus::kernels::cuda
