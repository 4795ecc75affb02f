// Memory that is not what a kernel, or the host, takes it for.
#include <cmath>
#include <cstring>
#include <memory>

#include "kernels/cuda/ptx.h"
#include "tests/cuda/defects/told.h"

namespace annulus {
namespace {

using emulator::Defect;

constexpr int kWriteLine = __LINE__ + 1;
__global__ void WriteAt(float* out, int64_t i) { out[i] = 1; }
__global__ void ReadAt(const float* from, int64_t i, float* out) { *out = from[i]; }

TEST(Memory, WritesAndReadsInside) {
  const OnDevice<float> x(std::vector<float>(100, 3.0f)), out(1);
  ASSERT_EQ(Launch({1, 1}, WriteAt, x.get(), 99), cudaSuccess);
  ASSERT_EQ(Launch({1, 1}, ReadAt, static_cast<const float*>(x.get()), 98, out.get()), cudaSuccess);
  EXPECT_EQ(out.Read()[0], 3);
  EXPECT_EQ(x.Read()[99], 1);
  ExpectNothingTold();
}

TEST(Memory, WritesOnePastTheEnd) {
  const OnDevice<float> x(101);
  const auto launch = [&] {
    EXPECT_EQ(Launch({1, 1}, WriteAt, x.get(), 101), cudaSuccess);
    Finish();
  };
  if (IsAsanFlavour()) {
    EXPECT_DEATH(launch(), "AddressSanitizer");
    return;
  }
  launch();
  ExpectTold(Defect::kMemory,
             IsRaceFlavour()
                 ? "a write of 4 bytes at offset 404 of an allocation of 404, at memory_test.cu:" +
                       std::to_string(kWriteLine)
                 : "a kernel wrote 0 bytes past the end of a device allocation of 404");
}

// Whatever the flavour: the page fault, or before it the race detector.
void ExpectOutside(void (*kernel)(float*, int64_t), float* p, int64_t i) {
  ASSERT_EQ(Launch({1, 1}, kernel, p, i), cudaSuccess);
  ExpectTold(Defect::kMemory, "memory_test.cu:" + std::to_string(kWriteLine));
}

TEST(Memory, WritesBeforeTheBeginningAndFarBehindTheEnd) {
  const OnDevice<float> x(1024);
  ExpectOutside(WriteAt, x.get(), -1);
  ExpectOutside(WriteAt, x.get(), 1024);
  ExpectOutside(WriteAt, x.get(), 1 << 20);
}

TEST(Memory, UsesWhatIsFreed) {
  float* freed = nullptr;
  ASSERT_EQ(cudaMalloc(&freed, 400), cudaSuccess);
  ASSERT_EQ(cudaFree(freed), cudaSuccess);
  ExpectOutside(WriteAt, freed, 3);
}

TEST(Memory, UsesAnotherDevices) {
  ASSERT_EQ(cudaSetDevice(1), cudaSuccess);
  {
    const OnDevice<float> other(10);
    ASSERT_EQ(cudaSetDevice(0), cudaSuccess);
    ExpectOutside(WriteAt, other.get(), 3);
  }
}

TEST(Memory, AKernelReadsTheHosts) {
  if (!IsRaceFlavour()) GTEST_SKIP() << "the race flavour sees every access";
  const auto host = std::make_unique<float>(1.0f);
  const OnDevice<float> out(1);
  ASSERT_EQ(Launch({1, 1}, ReadAt, static_cast<const float*>(host.get()), 0, out.get()),
            cudaSuccess);
  ExpectTold(Defect::kMemory, "which is no memory of the device, at memory_test.cu:");
}

TEST(Memory, TheHostTouchesADevices) {
  const OnDevice<float> x(std::vector<float>(8, 1.0f));
  const int line = __LINE__ + 1;
  const volatile float read = x.get()[3];
  EXPECT_EQ(read, 1);
  ExpectTold(Defect::kMemory, "the host touches allocated memory of device 0, at memory_test.cu:" +
                                  std::to_string(line));
  const OnDevice<float> y(5000);
  std::memset(y.get(), 0, 20000);
  ExpectTold(Defect::kMemory, "the host touches allocated memory of device 0");
}

__global__ void WriteShared(int i) {
  DYNAMIC_SHARED(memory);
  reinterpret_cast<volatile int*>(memory)[i] = 1;
}

TEST(Memory, WritesPastTheEndOfSharedMemory) {
  ASSERT_EQ(Launch({1, 1, 40}, WriteShared, 9), cudaSuccess);
  ExpectNothingTold();
  const auto launch = [] {
    EXPECT_EQ(Launch({1, 1, 40}, WriteShared, 10), cudaSuccess);
    Finish();
  };
  if (IsAsanFlavour()) {
    EXPECT_DEATH(launch(), "AddressSanitizer");
    return;
  }
  launch();
  ExpectTold(Defect::kMemory, IsRaceFlavour()
                                  ? "a write of 4 bytes at offset 40 of 40 bytes of shared memory"
                                  : "past the end of 40 bytes of shared memory");
}

__global__ void WriteTwo(float* out) { *reinterpret_cast<uint64_t*>(out) = 1; }

TEST(Memory, AccessesThatAreNotAligned) {
  if (!IsRaceFlavour() && !IsAsanFlavour()) GTEST_SKIP() << "the plain flavour sees no access";
  const OnDevice<float> x(16);
  const auto launch = [&] {
    EXPECT_EQ(Launch({1, 1}, WriteTwo, x.get() + 1), cudaSuccess);
    Finish();
  };
  if (IsAsanFlavour()) {
    EXPECT_DEATH(launch(), "misaligned address");
    return;
  }
  launch();
  ExpectTold(Defect::kMemory, "is not aligned, at memory_test.cu:");
}

__global__ void WriteLocal(int i, int by, int* out) {
  int local[4] = {1, 2, 3, 4};
  local[i] += by;
  *out = local[i & 3];
}

TEST(Memory, LocalArraysAndIntegersOverflow) {
  if (!IsAsanFlavour()) GTEST_SKIP() << "sanitizers find these";
  const OnDevice<int> out(1);
  const auto launch = [&](int i, int by) {
    EXPECT_EQ(Launch({1, 1}, WriteLocal, i, by, out.get()), cudaSuccess);
    Finish();
  };
  launch(3, 1);
  EXPECT_DEATH(launch(4, 1), "out of bounds|insufficient space|AddressSanitizer");
  EXPECT_DEATH(launch(1, 0x7fffffff), "signed integer overflow");
}

__global__ void SumUninitialised(float* out) {
  DYNAMIC_SHARED(memory);
  out[threadIdx.x] += reinterpret_cast<const float*>(memory)[threadIdx.x];
}

TEST(Memory, WhatIsNotWrittenIsNaN) {
  const OnDevice<float> fresh(32);
  EXPECT_TRUE(std::isnan(fresh.Read()[7]));
  const OnDevice<float> out(std::vector<float>(32));
  ASSERT_EQ(Launch({1, 32, 128}, SumUninitialised, out.get()), cudaSuccess);
  EXPECT_TRUE(std::isnan(out.Read()[31]));
}

__global__ void OverflowStack(float* out) {
  volatile char local[300 * 1024];
  for (int i = 0; i < 300 * 1024; i += 1024) local[i] = static_cast<char>(i);
  *out = local[2048];
}

TEST(Memory, AThreadsStackOverflows) {
  if (IsAsanFlavour()) GTEST_SKIP() << "AddressSanitizer ends the program";
  const OnDevice<float> out(1);
  ASSERT_EQ(Launch({1, 1}, OverflowStack, out.get()), cudaSuccess);
  ExpectTold(Defect::kMemory, "stack overflows at memory_test.cu:");
}

__global__ void Nothing() {}

TEST(Launches, AreRefusedAsByADevice) {
  EXPECT_EQ(Launch({1, 1025}, Nothing), cudaErrorInvalidConfiguration);
  EXPECT_EQ(Launch({0, 32}, Nothing), cudaErrorInvalidConfiguration);
  EXPECT_EQ(Launch({1, 32, 228 * 1024}, Nothing), cudaErrorInvalidValue);
  cudaLaunchConfig_t config{};
  config.dynamicSmemBytes = 48 * 1024 + 1;  // without asking
  EXPECT_EQ(cudaLaunchKernelEx(&config, WriteShared, 1), cudaErrorInvalidValue);
  EXPECT_EQ(Launch({1, 32, 200 * 1024}, Nothing), cudaSuccess);
  ExpectNothingTold();
}

TEST(Launches, CopiesAreRefusedAsByADevice) {
  const OnDevice<float> x(10);
  std::vector<float> host(20);
  EXPECT_EQ(cudaMemcpy(x.get(), host.data(), 44, cudaMemcpyHostToDevice), cudaErrorInvalidValue);
  EXPECT_EQ(cudaMemcpy(x.get(), host.data(), 40, cudaMemcpyDeviceToHost), cudaErrorInvalidValue);
  EXPECT_EQ(cudaMemcpy(host.data(), x.get() + 1, 40, cudaMemcpyDefault), cudaErrorInvalidValue);
  EXPECT_EQ(cudaMemset(x.get(), 0, 41), cudaErrorInvalidValue);
  EXPECT_EQ(cudaMemset(x.get(), 0, 40), cudaSuccess);
  float* huge = nullptr;
  EXPECT_EQ(cudaMalloc(&huge, size_t{3} << 30), cudaErrorMemoryAllocation);
}

}  // namespace
}  // namespace annulus
