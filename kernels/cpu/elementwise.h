// Elementwise kernels, losses, the optimizer and reductions on CPU cores; contracts are those of
// KernelTable's methods of the same name. Bits do not depend on the thread count.
#pragma once

#include <cstdint>
#include <string>

#include "kernels/base/ops.h"

namespace annulus::kernels::cpu {

void RmsNorm(const RmsNormArgs& args, int threads);
int64_t RmsNormBackwardScratchBytes(const RmsNormBackwardArgs& args);
void RmsNormBackward(const RmsNormBackwardArgs& args, View scratch, int threads);
void RopeTable(const RopeTableArgs& args, int threads);
void Rope(const RopeArgs& args, int threads);
void SwiGlu(const SwiGluArgs& args, int threads);
void SwiGluBackward(const SwiGluBackwardArgs& args, int threads);
void Embedding(const EmbeddingArgs& args, int threads);
void EmbeddingBackward(const EmbeddingBackwardArgs& args, int threads);
void CrossEntropy(const CrossEntropyArgs& args, int threads);
void Add(const AddArgs& args, int threads);
// Also of matrices whose rows are contiguous but not side by side, and of f32 to f32.
void Convert(ConstView from, View to, int threads);
void CopyStrided(const CopyStridedArgs& args, int threads);
void AdamW(const AdamWArgs& args, int threads);
double SumOfSquares(ConstView view, int threads);
double Sum(ConstView view, int threads);

// The instruction set chosen at run time, as in "AVX3" or "AVX2".
std::string ElementwiseIsa();

}  // namespace annulus::kernels::cpu
