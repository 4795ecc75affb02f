// The table of one instruction set, from its trait.
#pragma once

#include "kernels/cpu/attention/tile_backward.inl.h"
#include "kernels/cpu/attention/tile_forward.inl.h"
#include "kernels/cpu/attention/tile_pack.inl.h"

namespace annulus::kernels::cpu {
namespace {

template <class Isa>
constexpr TileKernels MakeTileKernels(const char* isa) {
  static_assert(kStripQueries % kLanes<Isa> == 0);
  return {isa,       PackLanes<Isa>,     PackRows,          PackPanels,        UnpackLanes<Isa>,
          Fold<Isa>, Differentiate<Isa>, AccumulateDq<Isa>, AccumulateDkv<Isa>};
}

}  // namespace
}  // namespace annulus::kernels::cpu
