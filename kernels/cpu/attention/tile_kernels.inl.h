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
  static_assert(kLanes<Isa> == kStripQueries || Isa::kPerWord == 1);
  TileKernels table{};
  table.isa = isa;
  table.operand = Isa::kPerWord == 1 ? Element::kF32 : Element::kBF16;
  table.dim_multiple = Isa::kDimMultiple;
  table.key_multiple = Isa::kKeyMultiple;
  table.pack_lanes = PackLanes<Isa>;
  table.pack_rows = PackRows<Isa>;
  table.pack_panels = PackPanels<Isa>;
  table.pack_across = PackAcross<Isa>;
  table.unpack_lanes = UnpackLanes<Isa>;
  table.fold = Fold<Isa>;
  table.differentiate = Differentiate<Isa>;
  table.accumulate_dq = AccumulateDq<Isa>;
  table.accumulate_dkv = AccumulateDkv<Isa>;
  return table;
}

}  // namespace
}  // namespace annulus::kernels::cpu
