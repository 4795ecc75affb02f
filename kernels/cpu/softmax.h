// The softmax between the two products of attention on CPU cores; contracts are those of
// KernelTable's methods of the same name.
#pragma once

#include "kernels/base/ops.h"

namespace annulus::kernels::cpu {

void MaskedSoftmax(const MaskedSoftmaxArgs& args, int threads);
void MaskedSoftmaxBackward(const MaskedSoftmaxBackwardArgs& args, int threads);

}  // namespace annulus::kernels::cpu
