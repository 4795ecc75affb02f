// Memory of one rank that other ranks of its node can read.
#pragma once

#include <cstdint>

namespace annulus::parallel {

// Where memory that processes share comes from, on Linux.
inline constexpr const char* kSharedMemoryPlace = "/dev/shm";

class SharedRegion {
 public:
  SharedRegion(void* data, int64_t bytes) : data_(data), bytes_(bytes) {}
  // Collective, where the ranks of the node made it together.
  virtual ~SharedRegion() = default;
  SharedRegion(const SharedRegion&) = delete;
  SharedRegion& operator=(const SharedRegion&) = delete;

  // Zeroed at first.
  void* data() const { return data_; }
  int64_t bytes() const { return bytes_; }

  // Of the peers' memory, what the operating system counts in this process too: pages that it has
  // read in place. Throws SystemError.
  virtual int64_t peer_bytes_mapped() const = 0;

 private:
  void* data_;
  int64_t bytes_;
};

}  // namespace annulus::parallel
