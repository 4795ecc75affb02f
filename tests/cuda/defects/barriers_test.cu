// Barriers and instructions of warps that are not met as they have to be.
#include "kernels/cuda/ptx.h"
#include "tests/cuda/defects/told.h"

namespace annulus {
namespace {

namespace ptx = kernels::cuda::ptx;
using emulator::Defect;
constexpr unsigned kAll = 0xffffffffu;

__global__ void ExitsBeforeBarrier(float* out) {
  if (threadIdx.x >= 64) return;
  __syncthreads();
  out[threadIdx.x] = 1;
}

TEST(Barriers, ThreadsMayExitBeforeOthersMeet) {
  const OnDevice<float> out(64);
  ASSERT_EQ(Launch({1, 128}, ExitsBeforeBarrier, out.get()), cudaSuccess);
  ExpectNothingTold();
}

__global__ void LanesMeetInTwoBarriers(float* out) {
  if (threadIdx.x % 2 == 0) {
    __syncthreads();
    out[threadIdx.x] = 1;
  } else {
    out[threadIdx.x] = 2;
    __syncthreads();
  }
}

TEST(Barriers, LanesOfAWarpInTwoBarriers) {
  const OnDevice<float> out(64);
  ASSERT_EQ(Launch({1, 64}, LanesMeetInTwoBarriers, out.get()), cudaSuccess);
  ExpectTold(Defect::kDivergence, "lanes of warp 0 meet in barrier 0 from barriers_test.cu:");
}

constexpr int kLonelyLine = __LINE__ + 2;
__global__ void WaitsForMoreThanCome(int threads) {
  if (threadIdx.x < 64) ptx::BarSync(3, threads);
}

TEST(Barriers, MoreThreadsAreExpectedThanCome) {
  ASSERT_EQ(Launch({1, 128}, WaitsForMoreThanCome, 64), cudaSuccess);
  ExpectNothingTold();
  ASSERT_EQ(Launch({1, 128}, WaitsForMoreThanCome, 96), cudaSuccess);
  EXPECT_EQ(Finish(), cudaErrorLaunchFailure);
  ExpectTold(Defect::kDeadlock,
             "64 threads in bar.sync at barriers_test.cu:" + std::to_string(kLonelyLine));
}

__global__ void CountsDiffer() { ptx::BarSync(1, threadIdx.x < 32 ? 96 : 128); }

TEST(Barriers, CountsOfOneBarrierDiffer) {
  ASSERT_EQ(Launch({1, 128}, CountsDiffer), cudaSuccess);
  ExpectTold(Defect::kBarrier, "barrier 1 is used for");
}

__global__ void BarrierOf(int id, int threads) { ptx::BarSync(id, threads); }

TEST(Barriers, OfPartOfAWarpOrBeyondTheLast) {
  ASSERT_EQ(Launch({1, 64}, BarrierOf, 1, 48), cudaSuccess);
  ExpectTold(Defect::kBarrier, "barrier 1 of 48 threads");
  ASSERT_EQ(Launch({1, 64}, BarrierOf, 16, 64), cudaSuccess);
  ExpectTold(Defect::kBarrier, "barrier 16 of 64 threads");
}

__global__ void ShufflesAfterExit(float* out) {
  if (threadIdx.x > 20) return;
  out[threadIdx.x] = __shfl_xor_sync(kAll, 1.0f, 1);
}

TEST(Warps, LanesOfAShuffleHaveExited) {
  const OnDevice<float> out(32);
  ASSERT_EQ(Launch({}, ShufflesAfterExit, out.get()), cudaSuccess);
  ExpectTold(Defect::kDeadlock, "21 threads in shfl.bfly at barriers_test.cu:");
}

__global__ void LanesShuffleApart(int* out) {
  const int lane = static_cast<int>(threadIdx.x);
  out[lane] = lane < 16 ? __shfl_down_sync(kAll, lane, 1) : __shfl_up_sync(kAll, lane, 1);
}

TEST(Warps, LanesAreInDifferentInstructions) {
  const OnDevice<int> out(32);
  ASSERT_EQ(Launch({}, LanesShuffleApart, out.get()), cudaSuccess);
  ExpectTold(Defect::kDivergence, "shfl.up of lanes ffffffff");
}

__global__ void ShufflesIn(unsigned mask, int source, int* out) {
  out[threadIdx.x] = __shfl_sync(mask, static_cast<int>(threadIdx.x), source);
}

TEST(Warps, MasksLeaveLanesOut) {
  const OnDevice<int> out(32);
  ASSERT_EQ(Launch({1, 16}, ShufflesIn, 0xffffu, 3, out.get()), cudaSuccess);
  ExpectNothingTold();
  ASSERT_EQ(Launch({1, 16}, ShufflesIn, 0xffu, 3, out.get()), cudaSuccess);
  ExpectTold(Defect::kDivergence, "is called by lane 8");
  ASSERT_EQ(Launch({1, 16}, ShufflesIn, 0xffffu, 20, out.get()), cudaSuccess);
  ExpectTold(Defect::kDivergence, "a shuffle reads a lane outside its mask");
}

__global__ void MultipliesIn(unsigned lanes, float* out) {
  float d[4] = {};
  const uint32_t a[4] = {};
  if (threadIdx.x < lanes) ptx::MmaBf16(d, a, 0, 0);
  out[threadIdx.x] = d[0];
}

TEST(Warps, PartOfAWarpMultiplies) {
  const OnDevice<float> out(32);
  ASSERT_EQ(Launch({}, MultipliesIn, 32u, out.get()), cudaSuccess);
  ExpectNothingTold();
  ASSERT_EQ(Launch({}, MultipliesIn, 31u, out.get()), cudaSuccess);
  ExpectTold(Defect::kDeadlock, "31 threads in mma");
}

__global__ void MultipliesInBranches(float* out) {
  float d[4] = {};
  const uint32_t a[4] = {threadIdx.x};
  if (threadIdx.x < 16) {
    ptx::MmaBf16(d, a, 1, 0);
  } else {
    ptx::MmaBf16(d, a, 0, 1);
  }
  out[threadIdx.x] = d[0];
}

TEST(Warps, LanesMultiplyInDifferentBranches) {
  const OnDevice<float> out(32);
  ASSERT_EQ(Launch({}, MultipliesInBranches, out.get()), cudaSuccess);
  ExpectTold(Defect::kDivergence, "mma of lanes ffffffff");
}

}  // namespace
}  // namespace annulus
