#include "tests/cuda/emulator/memory.h"

#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>

#include "tests/cuda/emulator/faults.h"
#include "tests/cuda/emulator/options.h"
#include "tests/cuda/emulator/report.h"
#include "tests/cuda/emulator/text.h"
#include "tests/cuda/emulator/work_order.h"

extern "C" {
void* __asan_region_is_poisoned(void* p, size_t bytes) __attribute__((weak));
void __asan_poison_memory_region(const volatile void* p, size_t bytes) __attribute__((weak));
void __asan_unpoison_memory_region(const volatile void* p, size_t bytes) __attribute__((weak));
}

namespace annulus::emulator {
namespace {

constexpr size_t kRegionBytes = size_t{16} << 30;  // of addresses, of every device
constexpr int kMostDevices = 16;
constexpr size_t kContextBytes = size_t{64} << 20;  // that a device's context takes
constexpr int kMark = 0xc5;                         // behind the end of an allocation

struct Placed {
  size_t bytes = 0;
  size_t pages = 0;  // bytes of its pages
  bool open_for_host = false;
};

struct DeviceMemory {
  std::byte* region = nullptr;
  std::map<std::byte*, Placed> placed;
  size_t used = kContextBytes;
  int open = 0;  // how many need it to be
};

std::mutex mutex;
std::array<DeviceMemory, kMostDevices> devices;  // guarded by mutex
std::map<const std::byte*, size_t> pinned;       // guarded by mutex
std::array<std::atomic<std::byte*>, kMostDevices> regions;
std::atomic<uint64_t> version = 1;  // of devices and pinned

size_t RoundToPages(size_t bytes) {
  const auto page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  return (bytes + page - 1) / page * page;
}

void Protect(std::byte* begin, const Placed& at, bool open) {
  mprotect(begin, at.pages, open || at.open_for_host ? PROT_READ | PROT_WRITE : PROT_NONE);
}

DeviceMemory& MemoryOf(int device) {
  DeviceMemory& memory = devices.at(static_cast<size_t>(device));
  if (memory.region == nullptr) {
    WatchFaults();
    void* region =
        mmap(nullptr, kRegionBytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (region == MAP_FAILED) throw std::bad_alloc();
    memory.region = static_cast<std::byte*>(region);
    regions[static_cast<size_t>(device)] = memory.region;
  }
  return memory;
}

// A page that nobody may touch lies before and behind every allocation.
std::byte* FindGap(const DeviceMemory& memory, size_t pages) {
  const size_t guard = RoundToPages(1);
  std::byte* at = memory.region + guard;
  for (const auto& [begin, placed] : memory.placed) {
    if (begin >= at + pages + guard) return at;
    at = begin + placed.pages + guard;
  }
  return at + pages + guard <= memory.region + kRegionBytes ? at : nullptr;
}

}  // namespace

bool AddressSanitized() { return __asan_region_is_poisoned != nullptr; }

bool IsPoisoned(const void* p, size_t bytes) {
  return AddressSanitized() && __asan_region_is_poisoned(const_cast<void*>(p), bytes) != nullptr;
}

cudaError_t AllocateOnDevice(int device, size_t bytes, void** result) {
  *result = nullptr;
  if (bytes == 0) return cudaSuccess;
  const std::lock_guard lock(mutex);
  DeviceMemory& memory = MemoryOf(device);
  const size_t pages = RoundToPages(bytes);
  const auto total = static_cast<size_t>(TheOptions().device_memory_bytes);
  std::byte* begin = memory.used + pages > total ? nullptr : FindGap(memory, pages);
  if (begin == nullptr) return cudaErrorMemoryAllocation;
  const Placed at{bytes, pages};
  Protect(begin, at, true);
  std::memset(begin, 0xff, bytes);
  std::memset(begin + bytes, kMark, pages - bytes);
  if (AddressSanitized()) __asan_poison_memory_region(begin + bytes, pages - bytes);
  if (memory.open == 0) Protect(begin, at, false);
  memory.placed[begin] = at;
  memory.used += pages;
  ++version;
  *result = begin;
  return cudaSuccess;
}

cudaError_t FreeOnDevice(void* p) {
  if (p == nullptr) return cudaSuccess;
  const int device = DeviceOf(p);
  if (device < 0) return cudaErrorInvalidValue;
  const std::lock_guard lock(mutex);
  DeviceMemory& memory = devices[static_cast<size_t>(device)];
  const auto found = memory.placed.find(static_cast<std::byte*>(p));
  if (found == memory.placed.end()) return cudaErrorInvalidValue;
  const auto [begin, at] = *found;
  ForgetWorkOn(begin, at.bytes);
  if (AddressSanitized()) __asan_unpoison_memory_region(begin + at.bytes, at.pages - at.bytes);
  madvise(begin, at.pages, MADV_DONTNEED);
  mprotect(begin, at.pages, PROT_NONE);
  memory.used -= at.pages;
  memory.placed.erase(found);
  ++version;
  return cudaSuccess;
}

void DeviceMemoryInfo(int device, size_t* free, size_t* total) {
  const std::lock_guard lock(mutex);
  *total = static_cast<size_t>(TheOptions().device_memory_bytes);
  *free = *total - MemoryOf(device).used;
}

cudaError_t AllocatePinned(size_t bytes, void** memory) {
  *memory = nullptr;
  if (bytes == 0) return cudaSuccess;
  // 256 bytes on, as CUDA's is; what is behind is AddressSanitizer's to see.
  if (posix_memalign(memory, 256, bytes) != 0) return cudaErrorMemoryAllocation;
  std::memset(*memory, 0xff, bytes);
  const std::lock_guard lock(mutex);
  pinned[static_cast<const std::byte*>(*memory)] = bytes;
  ++version;
  return cudaSuccess;
}

cudaError_t FreePinned(void* memory) {
  if (memory == nullptr) return cudaSuccess;
  {
    const std::lock_guard lock(mutex);
    if (pinned.erase(static_cast<const std::byte*>(memory)) == 0) return cudaErrorInvalidValue;
    ++version;
  }
  std::free(memory);
  return cudaSuccess;
}

int DeviceOf(const void* p) {
  for (int device = 0; device < kMostDevices; ++device) {
    const std::byte* region = regions[static_cast<size_t>(device)];
    if (region == nullptr) continue;
    const auto* byte = static_cast<const std::byte*>(p);
    if (byte >= region && byte < region + kRegionBytes) return device;
  }
  return -1;
}

std::optional<Allocation> FindOnDevice(const void* p) {
  static thread_local Allocation last;
  static thread_local uint64_t last_version = 0;
  if (last_version == version && last.Holds(p, 1)) return last;
  const int device = DeviceOf(p);
  if (device < 0) return std::nullopt;
  const std::lock_guard lock(mutex);
  const auto& placed = devices[static_cast<size_t>(device)].placed;
  auto after = placed.upper_bound(static_cast<std::byte*>(const_cast<void*>(p)));
  if (after == placed.begin()) return std::nullopt;
  const auto& [begin, at] = *--after;
  if (p >= begin + at.pages) return std::nullopt;
  last = {begin, at.bytes, device};
  last_version = version;
  return last;
}

bool IsPinned(const void* p, size_t bytes) {
  const auto* byte = static_cast<const std::byte*>(p);
  const std::lock_guard lock(mutex);
  auto after = pinned.upper_bound(byte);
  if (after == pinned.begin()) return false;
  --after;
  return byte + bytes <= after->first + after->second;
}

void CheckEnds(int device, const char* work) {
  if (AddressSanitized()) return;
  const std::lock_guard lock(mutex);
  for (const auto& [begin, at] : devices[static_cast<size_t>(device)].placed) {
    for (size_t i = at.bytes; i < at.pages; ++i) {
      if (begin[i] == static_cast<std::byte>(kMark)) continue;
      Tell(Defect::kMemory, Text("%s wrote %zu bytes past the end of a device allocation of %zu",
                                 work, i - at.bytes, at.bytes));
      std::memset(begin + at.bytes, kMark, at.pages - at.bytes);
      break;
    }
  }
}

DeviceMemoryOpen::DeviceMemoryOpen(int device) : device_(device) {
  const std::lock_guard lock(mutex);
  DeviceMemory& memory = MemoryOf(device);
  if (memory.open++ > 0) return;
  for (const auto& [begin, at] : memory.placed) Protect(begin, at, true);
}

DeviceMemoryOpen::~DeviceMemoryOpen() {
  const std::lock_guard lock(mutex);
  DeviceMemory& memory = devices[static_cast<size_t>(device_)];
  if (--memory.open > 0) return;
  for (const auto& [begin, at] : memory.placed) Protect(begin, at, false);
}

void OpenForHost(const void* p) {
  const int device = DeviceOf(p);
  const std::lock_guard lock(mutex);
  auto& placed = devices[static_cast<size_t>(device)].placed;
  auto after = placed.upper_bound(static_cast<std::byte*>(const_cast<void*>(p)));
  if (after == placed.begin()) return;
  auto& [begin, at] = *--after;
  at.open_for_host = true;
  Protect(begin, at, true);
}

}  // namespace annulus::emulator
