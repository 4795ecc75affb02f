#include "kernels/cuda/device.h"

#include <unistd.h>

#include <array>
#include <chrono>
#include <filesystem>
#include <thread>
#include <utility>

#include "kernels/base/error.h"

namespace annulus::kernels::cuda {
namespace {

std::string HostName() {
  std::array<char, 256> name{};
  return gethostname(name.data(), name.size() - 1) == 0 ? name.data() : "unknown host";
}

thread_local std::function<void()> on_idle;

// Polls `query` until it says something else than cudaErrorNotReady, which it returns. The first
// polls follow each other closely, as most waits are short.
template <class Query>
cudaError_t Watch(const Query& query) {
  constexpr int kBusyPolls = 1000;
  constexpr auto kNap = std::chrono::microseconds(20);
  for (int poll = 0;; ++poll) {
    const cudaError_t status = query();
    if (status != cudaErrorNotReady) return status;
    on_idle();
    if (poll >= kBusyPolls) std::this_thread::sleep_for(kNap);
  }
}

int Attribute(cudaDeviceAttr attribute, int device) {
  int value = 0;
  CheckCuda(cudaDeviceGetAttribute(&value, attribute, device), "cudaDeviceGetAttribute");
  return value;
}

}  // namespace

// Spelled out only where something failed, so its own calls may fail too.
std::string DescribeCurrentDevice() {
  int device = -1;
  if (cudaGetDevice(&device) != cudaSuccess) return "no device, " + HostName();
  return fmt::format("device {}, {}", device, HostName());
}

std::string PlaceText(const std::source_location& place) {
  return fmt::format("{}:{}", std::filesystem::path(place.file_name()).filename().string(),
                     place.line());
}

void CheckCuda(cudaError_t status, std::string_view call, std::source_location place) {
  if (status == cudaSuccess) [[likely]]
    return;
  ThrowSystemError("{} failed on {} at {}: {} ({})", call, DescribeCurrentDevice(),
                   PlaceText(place), cudaGetErrorString(status), cudaGetErrorName(status));
}

int DeviceCount() {
  int count = 0;
  return cudaGetDeviceCount(&count) == cudaSuccess ? count : 0;
}

std::string WhyNoDevice() {
  int count = 0;
  const cudaError_t status = cudaGetDeviceCount(&count);
  if (status != cudaSuccess) return cudaGetErrorString(status);
  return count == 0 ? "no device is visible" : "";
}

int DeviceOfRank(int node_local_rank, int devices) {
  Check(node_local_rank >= 0 && devices > 0, "no device of {} for node-local rank {}", devices,
        node_local_rank);
  return node_local_rank % devices;
}

void UseDevice(int device) {
  CheckCuda(cudaSetDevice(device), fmt::format("cudaSetDevice({})", device));
}

int CurrentDevice() {
  int device = 0;
  CheckCuda(cudaGetDevice(&device), "cudaGetDevice");
  return device;
}

DeviceProperties PropertiesOf(int device) {
  cudaDeviceProp properties{};
  CheckCuda(cudaGetDeviceProperties(&properties, device), "cudaGetDeviceProperties");
  return {properties.name,
          properties.major,
          properties.minor,
          properties.multiProcessorCount,
          static_cast<int64_t>(properties.totalGlobalMem),
          Attribute(cudaDevAttrMaxSharedMemoryPerBlockOptin, device)};
}

DeviceMemoryReading ReadDeviceMemory() {
  size_t free = 0, total = 0;
  CheckCuda(cudaMemGetInfo(&free, &total), "cudaMemGetInfo");
  return {static_cast<int64_t>(free), static_cast<int64_t>(total)};
}

IdleWatch::IdleWatch(std::function<void()> idle) {
  Check(!on_idle, "two watches over the waits of one thread");
  on_idle = std::move(idle);
}
IdleWatch::~IdleWatch() { on_idle = nullptr; }

Stream::Stream() {
  CheckCuda(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "cudaStreamCreate");
}
// A destructor must not throw; what failed was, or will be, reported by a call that may.
Stream::~Stream() { (void)cudaStreamDestroy(stream_); }

void Stream::Wait() const {
  if (on_idle) {
    return CheckCuda(Watch([this] { return cudaStreamQuery(stream_); }), "cudaStreamQuery");
  }
  CheckCuda(cudaStreamSynchronize(stream_), "cudaStreamSynchronize");
}

bool Stream::Done() const {
  const cudaError_t status = cudaStreamQuery(stream_);
  if (status == cudaErrorNotReady) return false;
  CheckCuda(status, "cudaStreamQuery");
  return true;
}

Event::Event(Timing timing) {
  const unsigned flags = timing == Timing::kYes ? cudaEventDefault : cudaEventDisableTiming;
  CheckCuda(cudaEventCreateWithFlags(&event_, flags), "cudaEventCreate");
}
Event::~Event() { (void)cudaEventDestroy(event_); }

void Event::Record(cudaStream_t stream) {
  CheckCuda(cudaEventRecord(event_, stream), "cudaEventRecord");
}

bool Event::Done() const {
  const cudaError_t status = cudaEventQuery(event_);
  if (status == cudaErrorNotReady) return false;
  CheckCuda(status, "cudaEventQuery");
  return true;
}

void Event::Wait() const {
  if (on_idle) {
    return CheckCuda(Watch([this] { return cudaEventQuery(event_); }), "cudaEventQuery");
  }
  CheckCuda(cudaEventSynchronize(event_), "cudaEventSynchronize");
}

void Event::HoldUp(cudaStream_t stream) const {
  CheckCuda(cudaStreamWaitEvent(stream, event_, 0), "cudaStreamWaitEvent");
}

double Event::MillisecondsBetween(const Event& first, const Event& second) {
  float milliseconds = 0;
  CheckCuda(cudaEventElapsedTime(&milliseconds, first.event_, second.event_),
            "cudaEventElapsedTime");
  return milliseconds;
}

}  // namespace annulus::kernels::cuda
