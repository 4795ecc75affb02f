// A decoder's loss and gradients as a plain implementation of its own precision has them: one
// sequence, f32 arithmetic, one loop after the other, every tensor that a model of `shape.dtype`
// stores rounded to that dtype. What it loses to rounding is the measure of the real one's error.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "kernels/base/mask.h"
#include "runtime/model/decoder_shape.h"
#include "tests/reference/decoder_reference.h"

namespace annulus::reference {

// Values by Hugging Face name, row-major.
using FloatParameters = std::map<std::string, std::vector<float>>;

struct PlainGradients {
  double loss = 0;  // summed over targets, like what the gradients are of
  FloatParameters gradients;
};

// `parameters` hold values of shape.dtype.
PlainGradients PlainDecoderGradients(const runtime::DecoderShape& shape,
                                     const FloatParameters& parameters, const kernels::Mask& mask,
                                     const ReferenceSequence& sequence);

}  // namespace annulus::reference
