// cp.async that is not waited for as it has to be.
#include <cmath>

#include "kernels/cuda/ptx.h"
#include "tests/cuda/defects/told.h"

namespace annulus {
namespace {

namespace ptx = kernels::cuda::ptx;
using emulator::Defect;

enum class Planted {
  kNothing,
  kWaitsForTooFew,  // of its groups
  kNoBarrierAfterWait,
  kOverwritesTooEarly,  // the place of a copy that is under way
  kNeverWaits,
  kMisaligned,
  kPastTheEnd,
};

// Doubles 4 tiles of 128 floats through two places in shared memory.
template <Planted kPlanted>
__global__ void DoubleTiles(const float* from, float* to) {
  DYNAMIC_SHARED(memory);
  auto* words = reinterpret_cast<float*>(memory);
  constexpr int kTiles = 4, kTile = 128;
  const int i = static_cast<int>(threadIdx.x);
  const auto start = [&](int tile) {
    const float* source = from + tile * kTile + 4 * i + (kPlanted == Planted::kMisaligned ? 1 : 0) +
                          (kPlanted == Planted::kPastTheEnd && tile == 3 ? 4 : 0);
    ptx::CpAsync16(ptx::SharedAddress(words + tile % 2 * kTile + 4 * i), source, true);
    ptx::CpAsyncCommit();
  };
  start(0);
  for (int tile = 0; tile < kTiles; ++tile) {
    if (tile + 1 < kTiles) {
      start(tile + 1);
      if (kPlanted != Planted::kNeverWaits) {
        ptx::CpAsyncWait<kPlanted == Planted::kWaitsForTooFew ? 2 : 1>();
      }
    } else if (kPlanted != Planted::kNeverWaits) {
      ptx::CpAsyncWait<0>();
    }
    if (kPlanted != Planted::kNoBarrierAfterWait) __syncthreads();
    for (int k = i; k < kTile; k += 32) {
      to[tile * kTile + k] = 2 * words[tile % 2 * kTile + k];
    }
    if (kPlanted != Planted::kOverwritesTooEarly) __syncthreads();
  }
}

// How many of the results are wrong.
template <Planted kPlanted>
int CountWrong() {
  std::vector<float> host(512);
  for (size_t i = 0; i < host.size(); ++i) host[i] = static_cast<float>(i);
  const OnDevice<float> from(host), to(host.size());
  EXPECT_EQ(
      Launch({1, 32, 1024}, DoubleTiles<kPlanted>, static_cast<const float*>(from.get()), to.get()),
      cudaSuccess);
  const std::vector<float> result = to.Read();
  int wrong = 0;
  for (size_t i = 0; i < host.size(); ++i) wrong += result[i] != 2 * host[i];
  return wrong;
}

TEST(AsyncCopies, AreRightInEverySchedule) {
  emulator::ForEachSchedule(5, [](const std::string& schedule) {
    SCOPED_TRACE(schedule);
    EXPECT_EQ(CountWrong<Planted::kNothing>(), 0);
    ExpectNothingTold();
  });
}

TEST(AsyncCopies, WaitsForTooFew) {
  EXPECT_GT(CountWrong<Planted::kWaitsForTooFew>(), 0);
  if (IsRaceFlavour()) {
    ExpectTold(Defect::kRace, "a read meets an asynchronous write that is under way");
  }
}

TEST(AsyncCopies, NoBarrierAfterTheWait) {
  EXPECT_GT(CountWrong<Planted::kNoBarrierAfterWait>(), 0);
  if (IsRaceFlavour()) {
    ExpectTold(Defect::kRace, "async_copies_test.cu:");
  }
}

TEST(AsyncCopies, OverwritesTooEarly) {
  int wrong = 0;
  emulator::ForEachSchedule(10, [&](const std::string&) {
    wrong += CountWrong<Planted::kOverwritesTooEarly>();
    if (IsRaceFlavour()) {
      ExpectTold(Defect::kRace, "async_copies_test.cu:");
    }
  });
  EXPECT_GT(wrong, 0);
}

TEST(AsyncCopies, NeverWaits) {
  EXPECT_GT(CountWrong<Planted::kNeverWaits>(), 0);
  ExpectTold(Defect::kAsync, "a thread exits with a cp.async that it did not wait for");
}

TEST(AsyncCopies, FromAndToWhatIsNotAligned) {
  CountWrong<Planted::kMisaligned>();
  ExpectTold(Defect::kMemory, "is not aligned, at async_copies_test.cu:");
}

TEST(AsyncCopies, FromPastTheEnd) {
  CountWrong<Planted::kPastTheEnd>();
  ExpectTold(Defect::kMemory, "async_copies_test.cu:");
}

}  // namespace
}  // namespace annulus
