// Which tables of tile kernels were built in and which of them this CPU can run.
#pragma once

#include <vector>

#include "kernels/cpu/attention/tiles.h"

namespace annulus::kernels::cpu {

// Fastest first; the portable table is always the last.
std::vector<const TileKernels*> RunnableTileKernels();

// The fastest, found once.
const TileKernels& BestTileKernels();

}  // namespace annulus::kernels::cpu
