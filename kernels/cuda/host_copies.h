// Copies between a device and any memory of the host, through pinned chunks: while one is on the
// wire, the host fills or empties the other.
#pragma once

#include <cuda_runtime.h>

#include <array>
#include <cstddef>
#include <cstdint>

#include "kernels/cuda/device.h"
#include "kernels/cuda/device_memory.h"

namespace annulus::kernels::cuda {

// Thread-compatible. All copies go through one stream, in order with what else is on it.
class HostCopies {
 public:
  HostCopies();

  // Returns once `from` may change; the copy may still be under way.
  void ToDevice(const void* from, void* to, int64_t bytes, cudaStream_t stream);
  // Returns when `to` is written.
  void ToHost(const void* from, void* to, int64_t bytes, cudaStream_t stream);

  static constexpr int64_t kChunkBytes = int64_t{1} << 20;
  static constexpr size_t kChunks = 2;

 private:
  struct Chunk {
    std::byte* memory = nullptr;
    Event copied;
  };

  PinnedMemory pinned_;
  std::array<Chunk, kChunks> chunks_;
  size_t next_ = 0;  // the chunk that is used next
};

}  // namespace annulus::kernels::cuda
