// The CUDA device of the calling thread: checked calls, streams, events, which device a rank takes
// and how much memory it has. Sources of this directory that only call the runtime are plain C++.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>
#include <functional>
#include <source_location>
#include <string>
#include <string_view>

namespace annulus::kernels::cuda {

// Throws SystemError unless `status` is success. The message names the call and what it was for, as
// in "cudaMalloc of the arena", the source line, the device and its host, and CUDA's own words. An
// error of an earlier kernel may be reported by any later call.
void CheckCuda(cudaError_t status, std::string_view call,
               std::source_location place = std::source_location::current());

// The parts of such a message, for the libraries that run on a device.
std::string DescribeCurrentDevice();  // as in "device 0, node-7"
std::string PlaceText(const std::source_location& place);

// Devices that this process sees; 0 where there is no driver or no device.
int DeviceCount();
// Why DeviceCount() is 0, in CUDA's words; empty where it is not.
std::string WhyNoDevice();

// The device of a rank: the node's ranks take the visible devices in turn. More ranks than devices
// share them, which is the caller's to refuse. Requires a device.
int DeviceOfRank(int node_local_rank, int devices);

// Makes `device` the calling thread's, and creates its context. Every thread that calls CUDA does
// this first.
void UseDevice(int device);
int CurrentDevice();

struct DeviceProperties {
  std::string name;  // as in "NVIDIA H100 80GB HBM3"
  int major = 0;     // compute capability
  int minor = 0;
  int multiprocessors = 0;
  int64_t memory_bytes = 0;
  int64_t shared_bytes = 0;  // that one block may have

  int capability() const { return 10 * major + minor; }  // 80, 90, 100, ...
};
DeviceProperties PropertiesOf(int device);

// What the driver says of the calling thread's device: all processes, all contexts.
struct DeviceMemoryReading {
  int64_t free_bytes = 0;
  int64_t total_bytes = 0;

  int64_t used_bytes() const { return total_bytes - free_bytes; }
};
DeviceMemoryReading ReadDeviceMemory();

// While one lives, waits of this thread for streams and events call `idle` again and again until
// they are over: for who watches over work of the device that may never end by itself. What it
// throws ends the wait. They do not nest.
class IdleWatch {
 public:
  explicit IdleWatch(std::function<void()> idle);
  ~IdleWatch();
  IdleWatch(const IdleWatch&) = delete;
  IdleWatch& operator=(const IdleWatch&) = delete;
};

// A stream of the device that is current when it is created. It does not wait for the default
// stream.
class Stream {
 public:
  Stream();
  ~Stream();
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  cudaStream_t get() const { return stream_; }
  // Until all that was put on the stream is done.
  void Wait() const;
  // Whether it is.
  bool Done() const;

 private:
  cudaStream_t stream_ = nullptr;
};

// A place in a stream, to wait for on the host or on another stream.
class Event {
 public:
  enum class Timing : bool { kNo, kYes };  // with times it is a little slower

  explicit Event(Timing timing = Timing::kNo);
  ~Event();
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;

  cudaEvent_t get() const { return event_; }
  // All that is on the stream so far.
  void Record(cudaStream_t stream);
  // True once that is done; so it is of an event never recorded.
  bool Done() const;
  void Wait() const;
  // What is put on `stream` from now on waits for it; the host does not.
  void HoldUp(cudaStream_t stream) const;
  // Between two events with times that are done.
  static double MillisecondsBetween(const Event& first, const Event& second);

 private:
  cudaEvent_t event_ = nullptr;
};

}  // namespace annulus::kernels::cuda
