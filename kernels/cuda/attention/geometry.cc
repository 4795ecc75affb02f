#include "kernels/cuda/attention/geometry.h"

#include <algorithm>
#include <limits>

namespace annulus::kernels::cuda {
namespace {

int ToInt(int64_t x, const char* what) {
  Check(x >= 0 && x <= std::numeric_limits<int>::max() / 2, "{} {} of an attention on a device",
        what, x);
  return static_cast<int>(x);
}

}  // namespace

TileTable CutIntoTiles(const Positions& positions, int tile_tokens) {
  TileTable table;
  table.runs = positions.runs();
  int token = 0, tiles = 0;
  for (int r = 0; r < positions.runs(); ++r) {
    const PositionRun& run = positions.run(r);
    ToInt(run.last() + run.stride * tile_tokens, "position");
    const int count = ToInt(run.count, "tokens");
    tiles += (count + tile_tokens - 1) / tile_tokens;
    table.run[r] = {ToInt(run.start, "position"), ToInt(run.stride, "stride"), count, token, tiles};
    token += count;
  }
  return table;
}

DeviceMask MakeDeviceMask(const Mask& mask, const int* document_first) {
  DeviceMask device;
  device.kind = mask.kind;
  device.length = ToInt(mask.length, "length");
  // A window longer than the sequence is as long as it.
  device.window = ToInt(std::min(mask.window, mask.length), "window");
  // All positions are in the first of blocks that are longer than the sequence.
  device.block_tokens =
      ToInt(std::clamp<int64_t>(mask.blocks.block_tokens, 1, mask.length + 1), "block");
  device.blocks = mask.blocks;
  device.document_first = document_first;
  return device;
}

FoldShape::FoldShape(const AttentionProblem& p, int64_t keys)
    : heads(ToInt(p.heads, "heads")),
      kv_heads(ToInt(p.kv_heads, "key/value heads")),
      group(heads / kv_heads),
      head_dim(ToInt(p.head_dim, "head size")),
      query_tokens(ToInt(p.query_tokens(), "tokens")),
      key_tokens(ToInt(keys, "tokens")),
      scale(p.scale) {}

}  // namespace annulus::kernels::cuda
