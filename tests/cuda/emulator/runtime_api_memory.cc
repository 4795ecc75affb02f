// Memory, copies and fills of the CUDA runtime.
#include <cstring>
#include <memory>
#include <vector>

#include "tests/cuda/emulator/memory.h"
#include "tests/cuda/emulator/runtime_api.h"
#include "tests/cuda/emulator/streams.h"
#include "tests/cuda/emulator/work_order.h"

namespace emulator = annulus::emulator;

namespace {

// Rows of bytes at distances of `pitch`.
struct Rows {
  void* data;
  size_t pitch;
};
struct Extent {
  size_t width, height;

  size_t Span(size_t pitch) const { return height == 0 ? 0 : (height - 1) * pitch + width; }
};

bool IsOnDevice(const void* p) { return emulator::DeviceOf(p) >= 0; }

// The kind of a copy from its pointers; cudaMemcpyDefault if `kind` contradicts them.
cudaMemcpyKind CheckedKind(const void* to, const void* from, cudaMemcpyKind kind) {
  const cudaMemcpyKind actual =
      IsOnDevice(to) ? (IsOnDevice(from) ? cudaMemcpyDeviceToDevice : cudaMemcpyHostToDevice)
                     : (IsOnDevice(from) ? cudaMemcpyDeviceToHost : cudaMemcpyHostToHost);
  return kind == actual || kind == cudaMemcpyDefault ? actual : cudaMemcpyDefault;
}

// Whether a device allocation holds all of it; host memory is not ours to judge.
bool IsInside(const void* p, size_t bytes) {
  if (bytes == 0 || !IsOnDevice(p)) return true;
  const auto allocation = emulator::FindOnDevice(p);
  return allocation && allocation->Holds(p, bytes);
}

void CopyRows(const Rows& to, const Rows& from, const Extent& extent) {
  for (size_t row = 0; row < extent.height; ++row) {
    std::memmove(static_cast<char*>(to.data) + row * to.pitch,
                 static_cast<const char*>(from.data) + row * from.pitch, extent.width);
  }
}

// From memory that CUDA copies aside before the call returns.
Rows CopyAside(const Rows& from, const Extent& extent, std::shared_ptr<std::vector<char>>& aside) {
  aside = std::make_shared<std::vector<char>>(extent.width * extent.height);
  const Rows copy{aside->data(), extent.width};
  CopyRows(copy, from, extent);
  return copy;
}

void TouchRows(const Rows& rows, const Extent& extent, emulator::Access access) {
  if (!IsOnDevice(rows.data)) return;
  for (size_t row = 0; row < extent.height; ++row) {
    emulator::TouchByWork(static_cast<const char*>(rows.data) + row * rows.pitch, extent.width,
                          access);
  }
}

// Opens the other device of a copy between two.
void CopyBetween(const Rows& to, const Rows& from, const Extent& extent) {
  TouchRows(from, extent, emulator::Access::kRead);
  TouchRows(to, extent, emulator::Access::kWrite);
  const int to_device = emulator::DeviceOf(to.data), from_device = emulator::DeviceOf(from.data);
  if (to_device < 0 || from_device < 0 || to_device == from_device) {
    CopyRows(to, from, extent);
    return;
  }
  const emulator::DeviceMemoryOpen open_to(to_device), open_from(from_device);
  CopyRows(to, from, extent);
}

cudaError_t Copy(const Rows& to, Rows from, const Extent& extent, cudaMemcpyKind kind,
                 cudaStream_t stream) {
  if (extent.width == 0 || extent.height == 0) return cudaSuccess;
  if (to.pitch < extent.width || from.pitch < extent.width) return cudaErrorInvalidValue;
  const cudaMemcpyKind actual = CheckedKind(to.data, from.data, kind);
  if (actual == cudaMemcpyDefault) return cudaErrorInvalidValue;
  const size_t to_span = extent.Span(to.pitch), from_span = extent.Span(from.pitch);
  if (!IsInside(to.data, to_span) || !IsInside(from.data, from_span)) return cudaErrorInvalidValue;
  std::shared_ptr<std::vector<char>> aside;
  const bool pageable_source = !IsOnDevice(from.data) && !emulator::IsPinned(from.data, from_span);
  if (pageable_source) from = CopyAside(from, extent, aside);
  const emulator::Point point =
      emulator::Enqueue(emulator::StreamOf(stream), {"a copy",
                                                     [=] {
                                                       CopyBetween(to, from, extent);
                                                       (void)aside;
                                                     },
                                                     {},
                                                     {}});
  // Copies to memory that is not pinned are done when they return.
  const bool pageable_target = !IsOnDevice(to.data) && !emulator::IsPinned(to.data, to_span);
  return pageable_target ? emulator::RunUntil(point) : cudaSuccess;
}

}  // namespace

cudaError_t cudaMalloc(void** memory, size_t bytes) {
  return emulator::AllocateOnDevice(emulator::CurrentDevice(), bytes, memory);
}

cudaError_t cudaFree(void* memory) {
  const int device = emulator::DeviceOf(memory);
  if (device >= 0) {
    for (const emulator::Point& end : emulator::EndsOf(device)) emulator::RunUntil(end);
  }
  return emulator::FreeOnDevice(memory);
}

cudaError_t cudaHostAlloc(void** memory, size_t bytes, unsigned) {
  return emulator::AllocatePinned(bytes, memory);
}
cudaError_t cudaMallocHost(void** memory, size_t bytes) {
  return emulator::AllocatePinned(bytes, memory);
}
cudaError_t cudaFreeHost(void* memory) {
  cudaDeviceSynchronize();
  return emulator::FreePinned(memory);
}

cudaError_t cudaMemGetInfo(size_t* free, size_t* total) {
  emulator::DeviceMemoryInfo(emulator::CurrentDevice(), free, total);
  return cudaSuccess;
}

cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind kind,
                            cudaStream_t stream) {
  return Copy({to, bytes}, {const_cast<void*>(from), bytes}, {bytes, 1}, kind, stream);
}

cudaError_t cudaMemcpy2DAsync(void* to, size_t to_pitch, const void* from, size_t from_pitch,
                              size_t width, size_t height, cudaMemcpyKind kind,
                              cudaStream_t stream) {
  return Copy({to, to_pitch}, {const_cast<void*>(from), from_pitch}, {width, height}, kind, stream);
}

cudaError_t cudaMemcpy(void* to, const void* from, size_t bytes, cudaMemcpyKind kind) {
  const cudaError_t error = cudaMemcpyAsync(to, from, bytes, kind, nullptr);
  return error == cudaSuccess ? cudaStreamSynchronize(nullptr) : error;
}

cudaError_t cudaMemsetAsync(void* to, int value, size_t bytes, cudaStream_t stream) {
  if (bytes == 0) return cudaSuccess;
  if (!IsOnDevice(to) && !emulator::IsPinned(to, bytes)) return cudaErrorInvalidValue;
  if (!IsInside(to, bytes)) return cudaErrorInvalidValue;
  emulator::Enqueue(emulator::StreamOf(stream),
                    {"a fill",
                     [=] {
                       TouchRows({to, bytes}, {bytes, 1}, emulator::Access::kWrite);
                       std::memset(to, value, bytes);
                     },
                     {},
                     {}});
  return cudaSuccess;
}

cudaError_t cudaMemset(void* to, int value, size_t bytes) {
  return cudaMemsetAsync(to, value, bytes, nullptr);
}
