// The part of 2^x that every instruction set shares.
#pragma once

#include "kernels/cpu/attention/tile_multiply.inl.h"

namespace annulus::kernels::cpu {
namespace {

// 2^r for r in [0, 1] within 8.3e-8 before rounding, and 1 exactly at 0: a fold that leaves the
// reference where it was must leave what was summed before it alone, or long sequences drift.
// Minimax in relative error among the polynomials of degree 5 with that constant term.
template <class Isa>
ANNULUS_INLINE typename Isa::Vec Exp2OfFraction(typename Isa::Vec r) {
  typename Isa::Vec p = Isa::Set(0.0018671301f);
  p = Isa::Fma(p, r, Isa::Set(0.0090170303f));
  p = Isa::Fma(p, r, Isa::Set(0.0557999131f));
  p = Isa::Fma(p, r, Isa::Set(0.2401644502f));
  p = Isa::Fma(p, r, Isa::Set(0.6931513118f));
  return Isa::Fma(p, r, Isa::Set(1.0f));
}

}  // namespace
}  // namespace annulus::kernels::cpu
