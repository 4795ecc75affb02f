// Fused attention for any CPU: vectors of four floats.
#include "kernels/cpu/attention/tile_kernels.inl.h"
#include "kernels/cpu/attention/tile_vector.inl.h"

namespace annulus::kernels::cpu {
namespace {

struct Portable : VectorIsa<4> {
  static ANNULUS_INLINE Vec Exp2(Vec x) { return RoundingExp2<Portable>(x); }
};

}  // namespace

constinit const TileKernels kPortableTiles = MakeTileKernels<Portable>("portable");

}  // namespace annulus::kernels::cpu
