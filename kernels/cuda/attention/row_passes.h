// What a pass does to every row before its first and after its last fold.
#pragma once

#include <cuda_runtime.h>

#include "kernels/base/ops.h"

namespace annulus::kernels::cuda {

// document_first [T] = first position of each query's document. The starts travel as arguments of
// kernels, some hundreds at a time: no copy, and no wait for one.
void FillDocumentFirst(const AttentionProblem& problem, int* document_first, cudaStream_t stream);

void BeginForwardRows(const AttentionForwardArgs& args, cudaStream_t stream);
void FinishForwardRows(const AttentionForwardArgs& args, const AttentionOutputs& outputs,
                       cudaStream_t stream);
void BeginBackwardRows(const AttentionBackwardArgs& args, cudaStream_t stream);
void FinishBackwardRows(const AttentionBackwardArgs& args, View dq, cudaStream_t stream);

}  // namespace annulus::kernels::cuda
