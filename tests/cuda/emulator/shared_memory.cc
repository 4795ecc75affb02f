#include "tests/cuda/emulator/shared_memory.h"

#include <cstdlib>
#include <cstring>
#include <new>

#include "tests/cuda/emulator/memory.h"
#include "tests/cuda/emulator/text.h"

namespace annulus::emulator {
namespace {

constexpr size_t kSlackBytes = 4096;  // behind the end, where nobody may write
constexpr std::byte kMark{0xc5};

}  // namespace

SharedMemory::~SharedMemory() { std::free(data_); }

void SharedMemory::Reset(size_t bytes) {
  const size_t slack = AddressSanitized() || bytes == 0 ? 0 : kSlackBytes;
  if (bytes + slack != reserved_) {
    std::free(data_);
    void* memory = nullptr;
    if (bytes > 0 && posix_memalign(&memory, kSharedAlignment, bytes + slack) != 0) {
      throw std::bad_alloc();
    }
    data_ = static_cast<std::byte*>(memory);
    reserved_ = bytes + slack;
  }
  bytes_ = bytes;
  slack_ = slack;
  if (bytes > 0) std::memset(data_, 0xff, bytes);
  if (slack > 0) std::memset(data_ + bytes, static_cast<int>(kMark), slack);
}

void SharedMemory::CheckEnd() const {
  for (size_t i = 0; i < slack_; ++i) {
    if (data_[bytes_ + i] == kMark) continue;
    Tell(Defect::kMemory,
         Text("a write %zu bytes past the end of %zu bytes of shared memory", i, bytes_));
    return;
  }
}

uint32_t SharedMemory::AddressOf(const void* p, Place at) const {
  const auto* byte = static_cast<const std::byte*>(p);
  if (byte < data_ || byte > data_ + bytes_) {
    Tell(Defect::kMemory, "the shared address of what is not in shared memory, at " + LineOf(at));
    return 0;
  }
  return static_cast<uint32_t>(byte - data_) + kSharedWindow;
}

std::byte* SharedMemory::At(uint32_t address, size_t bytes, const char* what, Place at) const {
  if (Holds(address, bytes)) return data_ + (address - kSharedWindow);
  Tell(Defect::kMemory,
       Text("%s of %zu bytes at shared offset %lld of %zu, at %s", what, bytes,
            static_cast<long long>(address) - kSharedWindow, bytes_, LineOf(at).c_str()));
  alignas(16) static thread_local std::byte nobodys[4096];
  std::memset(nobodys, 0xff, sizeof nobodys);
  return nobodys;
}

}  // namespace annulus::emulator
