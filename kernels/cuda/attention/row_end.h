// How a row of a forward pass ends, whichever kernel finishes it: the same bits.
#pragma once

#include <cuda_runtime.h>

#include "kernels/cuda/attention/folds.h"

namespace annulus::kernels::cuda {

struct RowEnd {
  bool any;      // whether the row attended to any key: its accumulators hold something
  float factor;  // of its accumulators
  float lse;

  // Of the running state (state.h).
  __device__ __forceinline__ RowEnd(float max, float sum)
      : any(max != -INFINITY),
        factor(any ? 1 / sum : 0),
        lse(any ? fmaf(max, kLn2, logf(sum)) : -INFINITY) {}

  __device__ __forceinline__ float Out(float accumulated) const {
    return any ? accumulated * factor : 0;
  }
};

}  // namespace annulus::kernels::cuda
