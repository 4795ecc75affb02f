// The rate that a model's FLOP utilisation is stated against.
#pragma once

#include "kernels/base/kernel_table.h"
#include "parallel/communicator.h"

namespace annulus::runtime {

// FLOP/s of large square matrix products in `dtype` (f32 or bf16) on all ranks of `world` together:
// in each of several rounds every rank does the same products, and the slowest of them counts, so
// that ranks which share cores are not counted twice; the best round counts, so that another
// tenant's moment on a shared machine does not. Collective. Takes some 50 ms on cores, and
// memory (12 MiB a rank there) that is returned before it ends.
double MeasureMatMulRoof(kernels::KernelTable& table, kernels::DType dtype,
                         parallel::Communicator& world);

}  // namespace annulus::runtime
