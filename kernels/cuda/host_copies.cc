#include "kernels/cuda/host_copies.h"

#include <algorithm>
#include <cstring>
#include <functional>
#include <iterator>

namespace annulus::kernels::cuda {

HostCopies::HostCopies()
    : pinned_(
          ReservePinnedMemory(kChunkBytes * int64_t{kChunks}, "copies to and from the device")) {
  for (size_t i = 0; i < kChunks; ++i) {
    chunks_[i].memory = pinned_.get() + static_cast<int64_t>(i) * kChunkBytes;
  }
}

OwnedMemory HostCopies::Allocate(int64_t bytes) {
  PinnedMemory pinned = ReservePinnedMemory(bytes, "messages");
  std::byte* const memory = pinned.release();
  if (memory != nullptr) pinned_bytes_[memory] = bytes;
  return {memory, [this](std::byte* given_back) {
            pinned_bytes_.erase(given_back);
            FreePinnedMemory()(given_back);
          }};
}

bool HostCopies::IsPinned(const void* memory, int64_t bytes) const {
  const auto* const begin = static_cast<const std::byte*>(memory);
  const auto after = pinned_bytes_.upper_bound(begin);
  if (after == pinned_bytes_.begin()) return false;
  const auto& [base, size] = *std::prev(after);
  return begin + bytes <= base + size;
}

void HostCopies::CopyDirectly(const void* from, void* to, int64_t bytes, cudaStream_t stream) {
  CheckCuda(cudaMemcpyAsync(to, from, static_cast<size_t>(bytes), cudaMemcpyDefault, stream),
            "cudaMemcpyAsync of pinned memory");
  direct_.Record(stream);
  direct_.Wait();
}

void HostCopies::ToDevice(const void* from, void* to, int64_t bytes, cudaStream_t stream) {
  if (bytes > 0 && IsPinned(from, bytes)) return CopyDirectly(from, to, bytes, stream);
  for (int64_t done = 0; done < bytes; done += kChunkBytes) {
    const auto count = static_cast<size_t>(std::min(kChunkBytes, bytes - done));
    Chunk& chunk = chunks_[next_];
    next_ = (next_ + 1) % kChunks;
    chunk.copied.Wait();
    std::memcpy(chunk.memory, static_cast<const std::byte*>(from) + done, count);
    CheckCuda(cudaMemcpyAsync(static_cast<std::byte*>(to) + done, chunk.memory, count,
                              cudaMemcpyHostToDevice, stream),
              "cudaMemcpyAsync to the device");
    chunk.copied.Record(stream);
  }
}

void HostCopies::ToHost(const void* from, void* to, int64_t bytes, cudaStream_t stream) {
  if (bytes > 0 && IsPinned(to, bytes)) return CopyDirectly(from, to, bytes, stream);
  const auto part = [&](int64_t begin) {
    return static_cast<size_t>(std::min(kChunkBytes, bytes - begin));
  };
  // A chunk's former copy is done before this one begins: they are on one stream.
  const auto start = [&](int64_t begin, Chunk& chunk) {
    CheckCuda(cudaMemcpyAsync(chunk.memory, static_cast<const std::byte*>(from) + begin,
                              part(begin), cudaMemcpyDeviceToHost, stream),
              "cudaMemcpyAsync to the host");
    chunk.copied.Record(stream);
  };
  if (bytes > 0) start(0, chunks_[next_]);
  for (int64_t done = 0; done < bytes; done += kChunkBytes) {
    Chunk& chunk = chunks_[next_];
    next_ = (next_ + 1) % kChunks;
    if (done + kChunkBytes < bytes) start(done + kChunkBytes, chunks_[next_]);
    chunk.copied.Wait();
    std::memcpy(static_cast<std::byte*>(to) + done, chunk.memory, part(done));
  }
}

}  // namespace annulus::kernels::cuda
