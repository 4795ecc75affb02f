// The rate that a model's FLOP utilisation is stated against.
#pragma once

#include "kernels/base/kernel_table.h"

namespace annulus::runtime {

// FLOP/s of large square f32 matrix products on `table`: the best of several, so that another
// tenant's moment on a shared machine does not count. Call on all ranks at once, so that they share
// the machine as they do in a step. Takes some 50 ms and 12 MiB, returned before it ends.
double MeasureMatMulRoof(kernels::KernelTable& table);

}  // namespace annulus::runtime
