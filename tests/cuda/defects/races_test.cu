// Accesses that nothing orders. In order they happen to come right: only the race detector sees
// them.
#include "kernels/cuda/ptx.h"
#include "tests/cuda/defects/told.h"

namespace annulus {
namespace {

namespace ptx = kernels::cuda::ptx;
using emulator::Defect;

class Races : public testing::Test {
 protected:
  void SetUp() override {
    if (!IsRaceFlavour()) GTEST_SKIP() << "the race flavour sees every access";
  }
};

enum class Order { kNone, kWarp, kBlock };

__device__ void Synchronise(Order order) {
  if (order == Order::kWarp) __syncwarp();
  if (order == Order::kBlock) __syncthreads();
}

// Every thread reads what thread `from` of it wrote.
constexpr int kReadLine = __LINE__ + 6;
__global__ void ReadNeighbour(Order order, unsigned distance, int* out) {
  DYNAMIC_SHARED(memory);
  auto* words = reinterpret_cast<int*>(memory);
  words[threadIdx.x] = static_cast<int>(threadIdx.x);
  Synchronise(order);
  out[threadIdx.x] = words[threadIdx.x ^ distance];
}

TEST_F(Races, ReadsAfterWritesInSharedMemory) {
  const OnDevice<int> out(64);
  const Shape shape{1, 64, 256};
  const std::string line = "at races_test.cu:" + std::to_string(kReadLine);
  ASSERT_EQ(Launch(shape, ReadNeighbour, Order::kNone, 1u, out.get()), cudaSuccess);
  ExpectTold(Defect::kRace, line);
  ASSERT_EQ(Launch(shape, ReadNeighbour, Order::kWarp, 1u, out.get()), cudaSuccess);
  ExpectNothingTold();
  ASSERT_EQ(Launch(shape, ReadNeighbour, Order::kWarp, 32u, out.get()), cudaSuccess);
  ExpectTold(Defect::kRace, line);
  ASSERT_EQ(Launch(shape, ReadNeighbour, Order::kBlock, 32u, out.get()), cudaSuccess);
  ExpectNothingTold();
}

__global__ void RotateAgain(bool synchronised, int* out) {
  DYNAMIC_SHARED(memory);
  auto* words = reinterpret_cast<int*>(memory);
  int x = static_cast<int>(threadIdx.x);
  for (int round = 0; round < 3; ++round) {
    words[threadIdx.x] = x;
    __syncthreads();
    x = words[(threadIdx.x + 1) % blockDim.x];
    if (synchronised) __syncthreads();
  }
  out[threadIdx.x] = x;
}

TEST_F(Races, WritesAfterReadsInSharedMemory) {
  const OnDevice<int> out(64);
  ASSERT_EQ(Launch({1, 64, 256}, RotateAgain, true, out.get()), cudaSuccess);
  ExpectNothingTold();
  ASSERT_EQ(Launch({1, 64, 256}, RotateAgain, false, out.get()), cudaSuccess);
  ExpectTold(Defect::kRace, "a write and an earlier read are not ordered");
}

__global__ void AllWriteOne(int* out) {
  DYNAMIC_SHARED(memory);
  *reinterpret_cast<volatile int*>(memory) = static_cast<int>(threadIdx.x);
  __syncthreads();
  out[threadIdx.x] = *reinterpret_cast<volatile int*>(memory);
}

TEST_F(Races, WritesAfterWritesInSharedMemory) {
  const OnDevice<int> out(32);
  ASSERT_EQ(Launch({1, 32, 4}, AllWriteOne, out.get()), cudaSuccess);
  ExpectTold(Defect::kRace, "a write and an earlier write are not ordered");
}

// The second half hands over to the first, which waits for it, or for itself alone.
__global__ void HandOver(bool waits, int* out) {
  DYNAMIC_SHARED(memory);
  auto* words = reinterpret_cast<int*>(memory);
  const int i = static_cast<int>(threadIdx.x), half = static_cast<int>(blockDim.x) / 2;
  if (i >= half) {
    words[i - half] = i;
    ptx::BarArrive(1, 2 * half);
    return;
  }
  if (waits) {
    ptx::BarSync(1, 2 * half);
  } else {
    ptx::BarArrive(1, 2 * half);
    ptx::BarSync(2, half);
  }
  out[i] = words[i];
}

TEST_F(Races, NamedBarriersOrderWhoMeetsInThem) {
  const OnDevice<int> out(64);
  ASSERT_EQ(Launch({1, 128, 256}, HandOver, true, out.get()), cudaSuccess);
  ExpectNothingTold();
  // All writes come first by chance, or not.
  emulator::ForEachSchedule(5, [&](const std::string&) {
    ASSERT_EQ(Launch({1, 128, 256}, HandOver, false, out.get()), cudaSuccess);
    ExpectTold(Defect::kRace, "races_test.cu:");
  });
}

__global__ void AddToOne(bool atomic, float* sum) {
  if (atomic) {
    atomicAdd(sum, 1.0f);
  } else if (threadIdx.x == 0) {
    *sum += 1;
  }
}

TEST_F(Races, BlocksAddToOneNumber) {
  const OnDevice<float> sum(std::vector<float>{0});
  ASSERT_EQ(Launch({4, 64}, AddToOne, true, sum.get()), cudaSuccess);
  ExpectNothingTold();
  EXPECT_EQ(sum.Read()[0], 256);
  ASSERT_EQ(Launch({4, 64}, AddToOne, false, sum.get()), cudaSuccess);
  ExpectTold(Defect::kRace, "with block 0, thread 0");
}

__global__ void PassOn(bool synchronised, int* x) {
  x[threadIdx.x] = static_cast<int>(threadIdx.x);
  if (synchronised) __syncthreads();
  x[64 + threadIdx.x] = x[63 - threadIdx.x];
}

TEST_F(Races, ThreadsOfABlockUseTheDevicesMemory) {
  const OnDevice<int> x(128);
  ASSERT_EQ(Launch({1, 64}, PassOn, true, x.get()), cudaSuccess);
  ExpectNothingTold();
  ASSERT_EQ(Launch({1, 64}, PassOn, false, x.get()), cudaSuccess);
  ExpectTold(Defect::kRace, "a read and an earlier write are not ordered");
}

__global__ void WriteBytes(uint8_t* x) { x[threadIdx.x] = 1; }

TEST_F(Races, NeighbouringBytesAreNotOneNumber) {
  const OnDevice<uint8_t> x(64);
  ASSERT_EQ(Launch({1, 64}, WriteBytes, x.get()), cudaSuccess);
  ExpectNothingTold();
}

__global__ void OverlappingRows(int rows, float* out) {
  out[static_cast<int>(blockIdx.x) * rows + static_cast<int>(threadIdx.x)] = 1;
}

TEST_F(Races, BlocksWriteTheSameRow) {
  const OnDevice<float> out(64);
  ASSERT_EQ(Launch({2, 32}, OverlappingRows, 32, out.get()), cudaSuccess);
  ExpectNothingTold();
  ASSERT_EQ(Launch({2, 32}, OverlappingRows, 31, out.get()), cudaSuccess);
  ExpectTold(Defect::kRace, "a write and an earlier write are not ordered");
}

}  // namespace
}  // namespace annulus
