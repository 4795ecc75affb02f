// Runs fused attention of this machine's cores on every instruction set that they have.
#pragma once

#include "kernels/cpu/attention/tile_sizes.h"
#include "kernels/cpu/attention/tile_tables.h"
#include "tests/kernels/attention_case.h"

namespace annulus::kernels::cpu {

AttentionResult RunFused(const AttentionCase& c, const TileKernels& tiles, int threads,
                         const CacheSizes& caches = ThisCoresCaches());

// Every output within the tolerance, by the float64 reference, on every runnable instruction set;
// the same bits for 1, 2 and 3 threads.
void ExpectAccurate(const AttentionCase& c, const Tolerance& tolerance = {},
                    const CacheSizes& caches = ThisCoresCaches());

}  // namespace annulus::kernels::cpu
