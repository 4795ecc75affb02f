// How large the calls and messages are that a machine is calibrated by.
#pragma once

#include <cstdint>
#include <vector>

#include "runtime/config/run_config.h"

namespace annulus::runtime {

struct LinkSizes {
  std::vector<int64_t> message_bytes;  // a multiple of 4 each
  int64_t reduced_elements = 0;        // f32, of an all-reduce
  // Of the message that is under way while attentions of so many queries are computed.
  int64_t overlapped_bytes = 0;
  int64_t fold_tokens = 0;
};

// From sizes where overheads and edges count to ones that fill the caches.
struct CalibrationSizes {
  struct Layer {
    int64_t in = 0;
    int64_t out = 0;
  };
  std::vector<Layer> layers;              // of products
  std::vector<int64_t> tokens;            // rows of activations
  std::vector<int64_t> widths;            // of activations, multiples of 32
  std::vector<int64_t> attention_tokens;  // queries, and as many keys
  std::vector<int64_t> parameters;        // at once, multiples of 256
  LinkSizes links;
};

// Those that bench.sizes names; auto: small on cores, large on a device.
const CalibrationSizes& SizesOf(CallSizes sizes, DeviceKind device);

}  // namespace annulus::runtime
