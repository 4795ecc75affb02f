// Copies between a device and the host. Memory that was allocated here is pinned, and copied as it
// is; any other goes through pinned chunks: while one is on the wire, the host fills or empties the
// other.
#pragma once

#include <cuda_runtime.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>

#include "kernels/base/kernel_table.h"
#include "kernels/cuda/device.h"
#include "kernels/cuda/device_memory.h"

namespace annulus::kernels::cuda {

// Thread-compatible. All copies go through one stream, in order with what else is on it.
class HostCopies {
 public:
  HostCopies();

  // Pinned memory, to be given back before this ends.
  OwnedMemory Allocate(int64_t bytes);

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

  // Whether [memory, memory + bytes) was allocated here.
  bool IsPinned(const void* memory, int64_t bytes) const;
  void CopyDirectly(const void* from, void* to, int64_t bytes, cudaStream_t stream);

  PinnedMemory pinned_;
  std::array<Chunk, kChunks> chunks_;
  size_t next_ = 0;  // the chunk that is used next
  Event direct_;     // of the copies that need no chunk
  std::map<const std::byte*, int64_t, std::less<>> pinned_bytes_;  // of what was allocated
};

}  // namespace annulus::kernels::cuda
