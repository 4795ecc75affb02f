// A decoder's loss in float64, written as plainly as the equations: one sequence, no kernels, no
// ranks, no recomputation. Its central differences check every parameter's gradient.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "kernels/base/mask.h"
#include "runtime/model/decoder_shape.h"
#include "runtime/model/parameters.h"

namespace annulus::reference {

// Parameter values by Hugging Face name, row-major.
using Parameters = std::map<std::string, std::vector<double>>;

struct ReferenceSequence {
  std::vector<int32_t> tokens;
  std::vector<int32_t> labels;  // negative: no target
};

// The sum of the losses of all targets.
double DecoderLossSum(const runtime::DecoderShape& shape, const Parameters& parameters,
                      const kernels::Mask& mask, const ReferenceSequence& sequence);

}  // namespace annulus::reference
