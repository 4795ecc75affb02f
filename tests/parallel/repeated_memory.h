// A view of many bytes that costs few: one window of memory, mapped over and over.
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <stdexcept>

#include "kernels/base/view.h"

namespace annulus::parallel {

class RepeatedMemory {
 public:
  // Byte i of `bytes` is byte i % window_bytes of the window. Both are multiples of the page size.
  RepeatedMemory(int64_t bytes, int64_t window_bytes) : bytes_(bytes) {
    const int file = memfd_create("window", 0);
    const auto size = static_cast<size_t>(bytes);
    if (file < 0 || ftruncate(file, window_bytes) != 0) throw std::runtime_error("no window");
    void* const begin = mmap(nullptr, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (begin == MAP_FAILED) throw std::runtime_error("no address space");
    data_ = static_cast<uint8_t*>(begin);
    for (int64_t at = 0; at < bytes; at += window_bytes) {
      const auto part = static_cast<size_t>(std::min(window_bytes, bytes - at));
      if (mmap(data_ + at, part, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, file, 0) ==
          MAP_FAILED) {
        throw std::runtime_error("the window is not mapped");
      }
    }
    close(file);
  }
  ~RepeatedMemory() { munmap(data_, static_cast<size_t>(bytes_)); }
  RepeatedMemory(const RepeatedMemory&) = delete;
  RepeatedMemory& operator=(const RepeatedMemory&) = delete;

  uint8_t* window() { return data_; }
  kernels::View view() { return {data_, kernels::DType::kByte, {bytes_}}; }

 private:
  int64_t bytes_;
  uint8_t* data_;
};

}  // namespace annulus::parallel
