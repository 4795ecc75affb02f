// The emulator runs kernels as a device would.
#include <gtest/gtest.h>

#include <numeric>
#include <vector>

#include "kernels/cuda/ptx.h"
#include "tests/cuda/emulator/options.h"
#include "tests/cuda/on_device.h"

namespace annulus::emulator {
namespace {

namespace ptx = kernels::cuda::ptx;

__global__ void AddOne(float* x, int count) {
  const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (i < count) x[i] += 1;
}

__global__ void ReverseInBlock(float* x) {
  DYNAMIC_SHARED(memory);
  auto* shared = reinterpret_cast<float*>(memory);
  const unsigned i = threadIdx.x, count = blockDim.x;
  shared[i] = x[blockIdx.x * count + i];
  __syncthreads();
  x[blockIdx.x * count + i] = shared[count - 1 - i];
}

__global__ void SumByWarps(const int* x, int* sum) {
  int value = x[blockIdx.x * blockDim.x + threadIdx.x];
  for (int distance = 16; distance > 0; distance /= 2) {
    value += __shfl_xor_sync(0xffffffffu, value, distance);
  }
  if (threadIdx.x % 32 == 0) atomicAdd(sum, value);
}

TEST(Emulator, RunsAllThreadsOfAllBlocks) {
  OnDevice<float> x(std::vector<float>(1000, 2.0f));
  ASSERT_EQ(Launch({8, 128}, AddOne, x.get(), 1000), cudaSuccess);
  EXPECT_EQ(x.Read(), std::vector<float>(1000, 3.0f));
}

TEST(Emulator, SharesMemoryInABlock) {
  std::vector<float> host(3 * 96);
  std::iota(host.begin(), host.end(), 0.0f);
  ForEachSchedule(3, [&](const std::string& schedule) {
    SCOPED_TRACE(schedule);
    OnDevice<float> x(host);
    ASSERT_EQ(Launch({3, 96, 96 * sizeof(float)}, ReverseInBlock, x.get()), cudaSuccess);
    const std::vector<float> result = x.Read();
    for (size_t i = 0; i < host.size(); ++i) {
      EXPECT_EQ(result[i], host[i / 96 * 96 + 95 - i % 96]);
    }
  });
}

TEST(Emulator, ShufflesAndAtomics) {
  std::vector<int> host(4 * 64);
  std::iota(host.begin(), host.end(), 1);
  ForEachSchedule(3, [&](const std::string& schedule) {
    SCOPED_TRACE(schedule);
    OnDevice<int> x(host), sum(std::vector<int>{0});
    ASSERT_EQ(Launch({4, 64}, SumByWarps, static_cast<const int*>(x.get()), sum.get()),
              cudaSuccess);
    EXPECT_EQ(sum.Read()[0], 256 * 257 / 2);
  });
}

}  // namespace
}  // namespace annulus::emulator
