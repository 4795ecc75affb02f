// Which tables of tile kernels were built in and which of them this CPU can run.
#pragma once

#include <vector>

#include "kernels/base/dtype.h"
#include "kernels/cpu/attention/tiles.h"

namespace annulus::kernels::cpu {

// Those that serve tensors of `dtype`, fastest first; the portable table is always the last.
std::vector<const TileKernels*> RunnableTileKernels(DType dtype);

// The fastest, found once.
const TileKernels& BestTileKernels(DType dtype);

}  // namespace annulus::kernels::cpu
