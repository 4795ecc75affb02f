// Streams and events of the CUDA runtime.
#include <chrono>
#include <mutex>

#include "tests/cuda/emulator/runtime_api.h"
#include "tests/cuda/emulator/streams.h"

namespace emulator = annulus::emulator;

struct CUevent_st {
  bool timed = true;
  emulator::Point point;  // without a stream: never recorded
  std::shared_ptr<std::chrono::steady_clock::time_point> time;
};

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned flags) {
  emulator::CreateStream(emulator::CurrentDevice(), flags != cudaStreamNonBlocking, stream);
  return cudaSuccess;
}

cudaError_t cudaStreamCreate(cudaStream_t* stream) {
  return cudaStreamCreateWithFlags(stream, cudaStreamDefault);
}

cudaError_t cudaStreamCreateWithPriority(cudaStream_t* stream, unsigned flags, int) {
  return cudaStreamCreateWithFlags(stream, flags);
}

cudaError_t cudaDeviceGetStreamPriorityRange(int* least, int* greatest) {
  *least = 0;
  *greatest = -5;
  return cudaSuccess;
}

cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  return emulator::DestroyStream(stream) ? cudaSuccess : cudaErrorInvalidResourceHandle;
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  return emulator::RunUntil(emulator::EndOf(emulator::StreamOf(stream)));
}

cudaError_t cudaStreamQuery(cudaStream_t stream) {
  const emulator::StreamPointer of = emulator::StreamOf(stream);
  if (!emulator::RunSomeFor(emulator::EndOf(of))) return cudaErrorNotReady;
  return emulator::ErrorOf(of->device);
}

cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned) {
  if (event == nullptr) return cudaErrorInvalidResourceHandle;
  if (event->point.stream) {
    emulator::Enqueue(emulator::StreamOf(stream), {"a wait for an event", {}, {}, {event->point}});
  }
  return cudaSuccess;
}

cudaError_t cudaDeviceSynchronize() {
  for (const emulator::Point& end : emulator::EndsOf(emulator::CurrentDevice())) {
    emulator::RunUntil(end);
  }
  return emulator::ErrorOf(emulator::CurrentDevice());
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned flags) {
  *event = new CUevent_st{(flags & cudaEventDisableTiming) == 0, {}, {}};
  return cudaSuccess;
}

cudaError_t cudaEventCreate(cudaEvent_t* event) {
  return cudaEventCreateWithFlags(event, cudaEventDefault);
}

cudaError_t cudaEventDestroy(cudaEvent_t event) {
  if (event == nullptr) return cudaErrorInvalidResourceHandle;
  delete event;
  return cudaSuccess;
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  if (event == nullptr) return cudaErrorInvalidResourceHandle;
  auto time = std::make_shared<std::chrono::steady_clock::time_point>();
  event->time = time;
  event->point = emulator::Enqueue(
      emulator::StreamOf(stream),
      {"the record of an event", [time] { *time = std::chrono::steady_clock::now(); }, {}, {}});
  return cudaSuccess;
}

cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  if (event == nullptr) return cudaErrorInvalidResourceHandle;
  return event->point.stream ? emulator::RunUntil(event->point) : cudaSuccess;
}

cudaError_t cudaEventQuery(cudaEvent_t event) {
  if (event == nullptr) return cudaErrorInvalidResourceHandle;
  if (!event->point.stream) return cudaSuccess;
  if (!emulator::RunSomeFor(event->point)) return cudaErrorNotReady;
  return emulator::ErrorOf(event->point.stream->device);
}

cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t from, cudaEvent_t to) {
  if (from == nullptr || to == nullptr || !from->point.stream || !to->point.stream ||
      !from->timed || !to->timed) {
    return cudaErrorInvalidResourceHandle;
  }
  if (!emulator::IsDone(from->point) || !emulator::IsDone(to->point)) return cudaErrorNotReady;
  *milliseconds = std::chrono::duration<float, std::milli>(*to->time - *from->time).count();
  return cudaSuccess;
}
