// Products on cores with scratch of just the size asked for.
#pragma once

#include "kernels/cpu/gemm.h"
#include "tests/kernels/operand.h"

namespace annulus::kernels::testing {

inline void Multiply(cpu::Gemm& gemm, const MatMulArgs& args) {
  const Scratch scratch(gemm.ScratchBytes(args));
  gemm.MatMul(args, scratch.view());
}

}  // namespace annulus::kernels::testing
