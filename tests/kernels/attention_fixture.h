// Runs fused attention as the ring does, block by block, and measures it against the reference.
#pragma once

#include <limits>
#include <string>
#include <vector>

#include "kernels/cpu/attention/tile_sizes.h"
#include "kernels/cpu/attention/tile_tables.h"
#include "tests/reference/attention_reference.h"

namespace annulus::kernels::cpu {

// A problem and its keys, dealt to blocks in the order in which they are folded. `inputs.keys` are
// the blocks' positions one after the other.
struct AttentionCase {
  reference::AttentionInputs inputs;
  std::vector<Positions> blocks;
  std::vector<float> dout;
  float gradient_start = 0;  // what dk and dv hold before the first fold
  Meanwhile meanwhile = {};
};

// The blocks together have at most Positions::kMaxRuns runs.
AttentionCase MakeCase(const AttentionProblem& problem, const std::vector<Positions>& blocks,
                       uint32_t seed);

struct AttentionResult {
  reference::AttentionOutput<float> output;
  reference::AttentionGradients<float> gradients;
};

// Begin, fold every block, finish; forward, then backward from its output. Outputs and memory are
// filled with NaNs first.
AttentionResult RunFused(const AttentionCase& c, const TileKernels& tiles, int threads,
                         const CacheSizes& caches = ThisCoresCaches());

// Over the elements of a tensor: the largest of a few hundred errors is a matter of luck, and so is
// a multiple of it; the root of their mean square is not.
enum class Norm { kLargest, kRootMeanSquare };

// How far an output may be from the truth, both by a norm: a multiple of the error of a plain
// implementation of the same precision, and a floor of some roundings of the values.
struct Tolerance {
  Norm norm = Norm::kLargest;
  double plain_errors = 2;
  double floor = 4 * std::numeric_limits<float>::epsilon();
  // A share of the terms of the sums that an output is made of, and with it what a rounding of a
  // logit does to a probability: where terms cancel, or where a plain implementation happens to
  // meet the truth, that is what remains. 0: neither.
  double terms = 0;
};

// Every output within the tolerance, by the float64 reference, on every runnable instruction set;
// the same bits for 1, 2 and 3 threads.
void ExpectAccurate(const AttentionCase& c, const Tolerance& tolerance = {},
                    const CacheSizes& caches = ThisCoresCaches());

// 1 sequence, 2 query heads on 1 key/value head, scale 1/sqrt(D).
AttentionProblem MakeProblem(const Mask& mask, const Positions& queries, int64_t head_dim);

// A mask of each kind whose borders cross tiles.
Mask MakeMask(MaskKind kind, int64_t length);
std::vector<MaskKind> AllMaskKinds();
std::string TestName(MaskKind kind);

}  // namespace annulus::kernels::cpu
