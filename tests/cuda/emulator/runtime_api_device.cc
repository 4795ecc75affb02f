// Devices and errors of the CUDA runtime.
#include <algorithm>
#include <cstdio>

#include "tests/cuda/emulator/device_model.h"
#include "tests/cuda/emulator/options.h"
#include "tests/cuda/emulator/runtime_api.h"
#include "tests/cuda/emulator/streams.h"

namespace emulator = annulus::emulator;

namespace {

bool IsDevice(int device) { return device >= 0 && device < emulator::TheOptions().devices; }

}  // namespace

cudaError_t cudaGetDeviceCount(int* count) {
  *count = emulator::TheOptions().devices;
  return *count > 0 ? cudaSuccess : cudaErrorNoDevice;
}

cudaError_t cudaGetDevice(int* device) {
  *device = emulator::CurrentDevice();
  return cudaSuccess;
}

cudaError_t cudaSetDevice(int device) {
  if (!IsDevice(device)) return cudaErrorInvalidDevice;
  emulator::SetCurrentDevice(device);
  return cudaSuccess;
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device) {
  if (!IsDevice(device)) return cudaErrorInvalidDevice;
  const emulator::DeviceModel& model = emulator::TheDeviceModel();
  *properties = {};
  std::snprintf(properties->name, sizeof properties->name, "emulated sm_%d",
                emulator::TheOptions().capability);
  properties->uuid.bytes[0] = static_cast<char>(device + 1);
  properties->totalGlobalMem = static_cast<size_t>(emulator::TheOptions().device_memory_bytes);
  properties->sharedMemPerBlock = emulator::kFreeSharedBytes;
  properties->sharedMemPerBlockOptin = model.shared_bytes_per_block;
  properties->sharedMemPerMultiprocessor = model.shared_bytes_per_block + 1024;
  properties->regsPerBlock = 65536;
  properties->warpSize = 32;
  properties->maxThreadsPerBlock = emulator::kMostThreads;
  properties->major = emulator::TheOptions().capability / 10;
  properties->minor = emulator::TheOptions().capability % 10;
  properties->multiProcessorCount = model.multiprocessors;
  properties->l2CacheSize = 1 << 20;
  properties->pciBusID = device + 1;
  return cudaSuccess;
}

cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int device) {
  cudaDeviceProp properties;
  const cudaError_t error = cudaGetDeviceProperties(&properties, device);
  if (error != cudaSuccess) return error;
  switch (attribute) {
    case cudaDevAttrMaxThreadsPerBlock:
      *value = properties.maxThreadsPerBlock;
      break;
    case cudaDevAttrMaxSharedMemoryPerBlock:
      *value = static_cast<int>(properties.sharedMemPerBlock);
      break;
    case cudaDevAttrMultiProcessorCount:
      *value = properties.multiProcessorCount;
      break;
    case cudaDevAttrComputeCapabilityMajor:
      *value = properties.major;
      break;
    case cudaDevAttrComputeCapabilityMinor:
      *value = properties.minor;
      break;
    case cudaDevAttrMaxSharedMemoryPerBlockOptin:
      *value = static_cast<int>(properties.sharedMemPerBlockOptin);
      break;
    default:
      return cudaErrorInvalidValue;
  }
  return cudaSuccess;
}

cudaError_t cudaDeviceGetPCIBusId(char* id, int length, int device) {
  if (!IsDevice(device) || length < 13) return cudaErrorInvalidValue;
  std::snprintf(id, static_cast<size_t>(length), "0000:%02x:00.0", device + 1);
  return cudaSuccess;
}

cudaError_t cudaDriverGetVersion(int* version) {
  *version = 13000;
  return cudaSuccess;
}
cudaError_t cudaRuntimeGetVersion(int* version) { return cudaDriverGetVersion(version); }

cudaError_t cudaPeekAtLastError() { return emulator::ErrorOf(emulator::CurrentDevice()); }
cudaError_t cudaGetLastError() { return cudaPeekAtLastError(); }

const char* cudaGetErrorName(cudaError_t error) {
  switch (error) {
    case cudaSuccess:
      return "cudaSuccess";
    case cudaErrorInvalidValue:
      return "cudaErrorInvalidValue";
    case cudaErrorMemoryAllocation:
      return "cudaErrorMemoryAllocation";
    case cudaErrorInvalidConfiguration:
      return "cudaErrorInvalidConfiguration";
    case cudaErrorInvalidMemcpyDirection:
      return "cudaErrorInvalidMemcpyDirection";
    case cudaErrorNoDevice:
      return "cudaErrorNoDevice";
    case cudaErrorInvalidDevice:
      return "cudaErrorInvalidDevice";
    case cudaErrorInvalidResourceHandle:
      return "cudaErrorInvalidResourceHandle";
    case cudaErrorNotReady:
      return "cudaErrorNotReady";
    case cudaErrorIllegalAddress:
      return "cudaErrorIllegalAddress";
    case cudaErrorLaunchTimeout:
      return "cudaErrorLaunchTimeout";
    case cudaErrorPeerAccessAlreadyEnabled:
      return "cudaErrorPeerAccessAlreadyEnabled";
    case cudaErrorLaunchFailure:
      return "cudaErrorLaunchFailure";
    case cudaErrorNotSupported:
      return "cudaErrorNotSupported";
  }
  return "unrecognized error code";
}

const char* cudaGetErrorString(cudaError_t error) {
  switch (error) {
    case cudaSuccess:
      return "no error";
    case cudaErrorMemoryAllocation:
      return "out of memory";
    case cudaErrorNoDevice:
      return "no CUDA-capable device is detected";
    case cudaErrorLaunchFailure:
      return "a kernel was given up: see the emulator's report";
    default:
      return cudaGetErrorName(error);
  }
}
