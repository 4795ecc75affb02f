// Data that breaks a kernel's contract, such as a token outside the vocabulary: seen on the device,
// told on the host at its next wait.
#pragma once

#include <cstdint>

namespace annulus::kernels::cuda {

// In pinned memory, which the device writes in place. Both words are written by any of the threads
// that see a fault: each is one that was seen, if not by the same thread.
struct DataFault {
  enum Kind : int32_t { kNone, kToken, kLabel };

  int32_t kind = kNone;
  int32_t value = 0;
};

}  // namespace annulus::kernels::cuda
