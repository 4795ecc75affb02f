// mbarriers, the copy engine and wgmma used against their rules: a product of tiles that a producer
// fetches and a warpgroup multiplies, with one defect at a time.
#include <cuda.h>

#include <cmath>

#include "kernels/cuda/ptx.h"
#include "tests/cuda/defects/told.h"
#include "tests/cuda/layouts.h"

namespace annulus {
namespace {

namespace ptx = kernels::cuda::ptx;
using emulator::Defect;

enum class Planted {
  kNothing,
  kProducerDoesNotWait,  // for a place to be empty
  kConsumersDoNotWait,   // for a place to be full
  kTooManyExpected,      // arrivals at the empty barrier
  kTooFewExpected,       // the same
  kHalfTheBytes,         // are expected
  kNoBarrierAfterInit,
  kOverwritesBarrier,   // by an ordinary store
  kNotAligned,          // the box in shared memory
  kNoFence,             // before wgmma
  kReadsBeforeWait,     // the accumulators
  kNeverWaits,          // for wgmma
  kReleasesBeforeWait,  // a place that wgmma still reads
  kHalfStep,            // of a descriptor along K
  kSwappedDistances,    // of the right operand's descriptor
  kLanesDiffer,         // in their descriptors
  kWarpMissesOne,       // of the warpgroup's products
};

constexpr int kStages = 2;
constexpr uint32_t kTile = 64 * 64 * 2;  // bytes
constexpr uint32_t kPlaces = 2 * kStages * kTile;
constexpr int kDepth = 4;  // tiles

template <Planted kPlanted>
class Barriers {
 public:
  __device__ explicit Barriers(uint32_t at) : at_(at) {}
  __device__ uint32_t full(int s) const { return at_ + 8 * static_cast<uint32_t>(s); }
  __device__ uint32_t empty(int s) const { return full(kStages + s); }

  __device__ void Init() const {
    for (int s = 0; s < kStages; ++s) {
      ptx::MbarrierInit(full(s), 1);
      ptx::MbarrierInit(empty(s), kPlanted == Planted::kTooManyExpected  ? 5
                                  : kPlanted == Planted::kTooFewExpected ? 3
                                                                         : 4);
    }
    ptx::FenceMbarrierInit();
  }

 private:
  uint32_t at_;
};

template <Planted kPlanted>
__device__ void Produce(const CUtensorMap* a, const CUtensorMap* b, uint32_t tiles,
                        const Barriers<kPlanted>& barriers) {
  for (int k = 0; k < kDepth; ++k) {
    const int s = k % kStages;
    const auto parity = static_cast<uint32_t>(k / kStages % 2);
    if (kPlanted != Planted::kProducerDoesNotWait) {
      ptx::MbarrierWait(barriers.empty(s), parity ^ 1);
    }
    ptx::MbarrierArriveExpect(barriers.full(s),
                              kPlanted == Planted::kHalfTheBytes ? kTile : 2 * kTile);
    const uint32_t to =
        tiles + static_cast<uint32_t>(s) * 2 * kTile + (kPlanted == Planted::kNotAligned ? 16 : 0);
    ptx::TmaLoad2d(to, a, 64 * k, 0, barriers.full(s));
    ptx::TmaLoad2d(to + kTile, b, 0, 64 * k, barriers.full(s));
  }
}

// d += the tiles of a place; the left one lies along K, the right one across.
template <Planted kPlanted>
__device__ void Multiply(float (&d)[32], uint32_t tiles, int k) {
  const int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) / 32;
  constexpr bool kSwapped = kPlanted == Planted::kSwappedDistances;
  for (uint32_t step = 0; step < 4; ++step) {
    if (kPlanted == Planted::kWarpMissesOne && warp == 2 && k == 1 && step == 3) continue;
    const uint32_t along = step * (kPlanted == Planted::kHalfStep ? 16 : 32) +
                           (kPlanted == Planted::kLanesDiffer && lane == 7 ? 32 : 0);
    const uint64_t a = ptx::MatrixDescriptor(tiles + along, 16, 1024, ptx::Swizzle::k128Bytes);
    const uint64_t b = ptx::MatrixDescriptor(tiles + kTile + step * 2048, kSwapped ? 1024 : 8192,
                                             kSwapped ? 8192 : 1024, ptx::Swizzle::k128Bytes);
    ptx::WgmmaSharedShared<64, ptx::Major::kMN>(d, a, b, k > 0 || step > 0);
  }
}

template <Planted kPlanted>
__device__ void Consume(uint32_t tiles, const Barriers<kPlanted>& barriers, float* out) {
  const int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) / 32;
  const auto release = [&](int s) {
    if (lane == 0) ptx::MbarrierArrive(barriers.empty(s));
  };
  float d[32];
  for (float& x : d) x = 0;
  for (int k = 0; k < kDepth; ++k) {
    const int s = k % kStages;
    if (kPlanted != Planted::kConsumersDoNotWait) {
      ptx::MbarrierWait(barriers.full(s), static_cast<uint32_t>(k / kStages % 2));
    }
    if (kPlanted != Planted::kNoFence) ptx::WgmmaFence();
    Multiply<kPlanted>(d, tiles + static_cast<uint32_t>(s) * 2 * kTile, k);
    ptx::WgmmaCommit();
    if (kPlanted == Planted::kReleasesBeforeWait) release(s);
    const bool last = k == kDepth - 1;
    if (last && kPlanted == Planted::kReadsBeforeWait) {
      ptx::WgmmaWait<1>(d);
    } else if (!last || kPlanted != Planted::kNeverWaits) {
      ptx::WgmmaWait<0>(d);
    }
    if (kPlanted != Planted::kReleasesBeforeWait) release(s);
  }
  for (int i = 0; i < 32; ++i) {
    const int row = warp * 16 + lane / 4 + i / 2 % 2 * 8, column = i / 4 * 8 + lane % 4 * 2 + i % 2;
    out[row * 64 + column] = d[i];
  }
  if (kPlanted == Planted::kReadsBeforeWait) ptx::WgmmaWait<0>(d);
}

// out [64,64] = a [64,64 kDepth] b [64 kDepth,64].
template <Planted kPlanted>
__global__ void ProductKernel(const __grid_constant__ CUtensorMap a,
                              const __grid_constant__ CUtensorMap b, float* out) {
  DYNAMIC_SHARED(memory);
  const uint32_t tiles = ptx::SharedAddress(memory);
  const Barriers<kPlanted> barriers(tiles + kPlaces);
  if (threadIdx.x == 0) barriers.Init();
  if (kPlanted != Planted::kNoBarrierAfterInit) __syncthreads();
  if (kPlanted == Planted::kOverwritesBarrier && threadIdx.x == 5) {
    *reinterpret_cast<volatile int*>(memory + kPlaces) = 0;
  }
  if (threadIdx.x >= 128) {
    ptx::ReleaseRegisters<24>();
    if (threadIdx.x == 128) Produce(&a, &b, tiles, barriers);
  } else {
    ptx::ClaimRegisters<240>();
    Consume(tiles, barriers, out);
  }
}

CUtensorMap MapOf(uint16_t* data, uint64_t columns, uint64_t rows) {
  CUtensorMap map;
  const cuuint64_t dims[2] = {columns, rows}, row_bytes = 2 * columns;
  const cuuint32_t box[2] = {64, 64}, steps[2] = {1, 1};
  EXPECT_EQ(
      cuTensorMapEncodeTiled(&map, CU_TENSOR_MAP_DATA_TYPE_BFLOAT16, 2, data, dims, &row_bytes, box,
                             steps, CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B,
                             CU_TENSOR_MAP_L2_PROMOTION_NONE, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE),
      CUDA_SUCCESS);
  return map;
}

// How many of the results are wrong.
template <Planted kPlanted>
int CountWrong() {
  constexpr int kK = 64 * kDepth;
  const auto a = SmallNumbers(64 * kK), b = SmallNumbers(64 * kK);
  std::vector<uint16_t> a_bits, b_bits;
  for (const int x : a) a_bits.push_back(Bf16Bits(x));
  for (const int x : b) b_bits.push_back(Bf16Bits(x));
  const OnDevice<uint16_t> on_a(a_bits), on_b(b_bits);
  const OnDevice<float> out(std::vector<float>(64 * 64, -1.0f));
  EXPECT_EQ(Launch({1, 256, kPlaces + 8 * 2 * kStages}, ProductKernel<kPlanted>,
                   MapOf(on_a.get(), kK, 64), MapOf(on_b.get(), 64, kK), out.get()),
            cudaSuccess);
  if (Finish() != cudaSuccess) return 64 * 64;
  const std::vector<float> result = out.Read();
  int wrong = 0;
  for (size_t i = 0; i < 64; ++i) {
    for (size_t j = 0; j < 64; ++j) {
      int sum = 0;
      for (size_t k = 0; k < kK; ++k) sum += a[i * kK + k] * b[k * 64 + j];
      wrong += result[i * 64 + j] != static_cast<float>(sum);
    }
  }
  return wrong;
}

// Of all schedules; `told` is called after each.
template <Planted kPlanted, class Told>
int CountWrongOfAll(const Told& told) {
  int wrong = 0;
  emulator::ForEachSchedule(6, [&](const std::string& schedule) {
    SCOPED_TRACE(schedule);
    wrong += CountWrong<kPlanted>();
    told();
  });
  return wrong;
}

void ForgetReports() {
  emulator::TakeReports();
  emulator::ForgetErrors();
}

TEST(HopperDefects, NoneIsToldOfARightKernel) {
  EXPECT_EQ(CountWrongOfAll<Planted::kNothing>(ExpectNothingTold), 0);
}

TEST(HopperDefects, ProducerDoesNotWait) {
  EXPECT_GT(CountWrongOfAll<Planted::kProducerDoesNotWait>([] {
              if (IsRaceFlavour()) {
                ExpectAnythingTold();
              } else {
                ForgetReports();
              }
            }),
            0);
}

TEST(HopperDefects, ConsumersDoNotWait) {
  EXPECT_GT(CountWrongOfAll<Planted::kConsumersDoNotWait>(ForgetReports), 0);
}

TEST(HopperDefects, CountsOfArrivals) {
  CountWrong<Planted::kTooManyExpected>();
  ExpectTold(Defect::kDeadlock, "in mbarrier.try_wait at hopper_test.cu:");
  EXPECT_GT(CountWrongOfAll<Planted::kTooFewExpected>(ForgetReports), 0);
}

TEST(HopperDefects, HalfTheBytesAreExpected) {
  EXPECT_GT(CountWrongOfAll<Planted::kHalfTheBytes>(ForgetReports), 0);
}

TEST(HopperDefects, NoBarrierAfterInit) {
  int told = 0;
  CountWrongOfAll<Planted::kNoBarrierAfterInit>([&] {
    Finish();
    for (const auto& report : emulator::TakeReports()) {
      told += report.defect == Defect::kBarrier || report.defect == Defect::kRace;
    }
    emulator::ForgetErrors();
  });
  EXPECT_GT(told, 0);
}

TEST(HopperDefects, OverwritesBarrier) {
  CountWrong<Planted::kOverwritesBarrier>();
  ExpectTold(Defect::kBarrier, "an ordinary write has hit the mbarrier");
}

TEST(HopperDefects, BoxIsNotAligned) {
  CountWrong<Planted::kNotAligned>();
  ExpectTold(Defect::kMemory, "is not aligned to 128 bytes, at hopper_test.cu:");
}

TEST(HopperDefects, NoFenceBeforeWgmma) {
  CountWrong<Planted::kNoFence>();
  ExpectTold(Defect::kAsync, "no wgmma.fence");
}

TEST(HopperDefects, ReadsAccumulatorsBeforeTheWait) {
  EXPECT_GT(CountWrong<Planted::kReadsBeforeWait>(), 0);
  ExpectNothingTold();
}

TEST(HopperDefects, NeverWaitsForWgmma) {
  EXPECT_GT(CountWrong<Planted::kNeverWaits>(), 0);
  ExpectTold(Defect::kAsync, "a warp exits with a wgmma that it did not wait for");
}

TEST(HopperDefects, ReleasesAPlaceThatWgmmaReads) {
  const auto told = [] {
    if (IsRaceFlavour()) {
      ExpectTold(Defect::kRace, "hopper_test.cu:");
    }
  };
  emulator::SetOptions("schedule=inorder copies=lazy");
  CountWrong<Planted::kReleasesBeforeWait>();
  told();
  int wrong = 0;
  emulator::ForEachSchedule(10, [&](const std::string&) {
    wrong += CountWrong<Planted::kReleasesBeforeWait>();
    ForgetReports();
  });
  EXPECT_GT(wrong, 0);
}

TEST(HopperDefects, DescriptorsAreWrong) {
  EXPECT_GT(CountWrong<Planted::kHalfStep>(), 0);
  ForgetReports();
  EXPECT_GT(CountWrong<Planted::kSwappedDistances>(), 0);
  ForgetReports();
  CountWrong<Planted::kLanesDiffer>();
  ExpectTold(Defect::kDivergence, "lanes give wgmma different descriptors");
  CountWrong<Planted::kWarpMissesOne>();
  ExpectTold(Defect::kDivergence, "have issued different wgmma");
}

TEST(HopperDefects, TheDeviceHasNoSuchInstruction) {
  const emulator::Options before = emulator::TheOptions();
  emulator::SetOptions("capability=100");
  CountWrong<Planted::kNothing>();
  ExpectTold(Defect::kDevice, "needs sm_90 and a whole warpgroup");
  emulator::SetOptions("capability=80");
  CountWrong<Planted::kNothing>();
  ExpectTold(Defect::kDevice, "mbarrier.init needs sm_90 and the device is sm_80");
  emulator::TheOptions() = before;
}

// wgmma of an operand that threads have stored themselves.
__global__ void StoreAndMultiply(bool fenced, float* out) {
  DYNAMIC_SHARED(memory);
  auto* words = reinterpret_cast<uint32_t*>(memory);
  for (unsigned i = threadIdx.x; i < 2 * kTile / 4; i += 128) words[i] = 0x3f803f80;
  if (fenced) ptx::FenceProxyAsync();
  __syncthreads();
  float d[32];
  ptx::WgmmaFence();
  Multiply<Planted::kNothing>(d, ptx::SharedAddress(memory), 0);
  ptx::WgmmaCommit();
  ptx::WgmmaWait<0>(d);
  out[threadIdx.x] = d[5];
}

TEST(HopperDefects, OrdinaryStoresWithoutAProxyFence) {
  const OnDevice<float> out(128);
  ASSERT_EQ(Launch({1, 128, 2 * kTile}, StoreAndMultiply, true, out.get()), cudaSuccess);
  ExpectNothingTold();
  EXPECT_EQ(out.Read()[77], 64);
  ASSERT_EQ(Launch({1, 128, 2 * kTile}, StoreAndMultiply, false, out.get()), cudaSuccess);
  if (IsRaceFlavour()) {
    ExpectTold(Defect::kRace, "no fence.proxy.async is between an ordinary write and an");
  }
}

// Three warpgroups share what a block of 384 threads is given, 168 registers a thread.
template <int kKept>
__global__ void ShareRegisters(int* out) {
  if (threadIdx.x < 128) {
    ptx::ReleaseRegisters<kKept>();
  } else {
    ptx::ClaimRegisters<240>();
  }
  out[threadIdx.x] = 1;
}

TEST(HopperDefects, MoreRegistersAreClaimedThanAreGiven) {
  const OnDevice<int> out(384);
  ASSERT_EQ(Launch({1, 384, 0}, ShareRegisters<24>, out.get()), cudaSuccess);
  ExpectNothingTold();
  ASSERT_EQ(Launch({1, 384, 0}, ShareRegisters<32>, out.get()), cudaSuccess);
  ExpectTold(Defect::kDeadlock, "setmaxnreg, for registers that others do not give");
}

}  // namespace
}  // namespace annulus
