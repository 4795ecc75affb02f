// Blocks that add to one place by turns, through the copy engine: with one defect at a time.
#include <numeric>

#include "kernels/cuda/ptx.h"
#include "tests/cuda/defects/told.h"

namespace annulus {
namespace {

namespace ptx = kernels::cuda::ptx;
using emulator::Defect;

enum class Planted {
  kNothing,
  kNoFence,         // between ordinary stores and the copy engine
  kNoBarrier,       // after the stores
  kTooEarly,        // the turn is passed on before the sums have arrived
  kNotWaitedFor,    // the turn
  kWordIsOrdinary,  // the turn is passed on by an ordinary store
  kOverwrites,      // shared memory that the copy engine still reads
  kNeverWaits,      // for its sums
  kNotAligned,
  kPastTheEnd,  // of the sums
};

constexpr unsigned kThreads = 64, kBlocks = 5;
constexpr uint32_t kBytes = kThreads * sizeof(float);

template <Planted kPlanted>
__global__ void AddByTurns(unsigned* drawn, int* word, float* sums) {
  DYNAMIC_SHARED(memory);
  auto* own = reinterpret_cast<volatile float*>(memory);
  own[threadIdx.x] = static_cast<float>(blockIdx.x + 1);
  if (kPlanted != Planted::kNoFence) ptx::FenceProxyAsync();
  if (kPlanted != Planted::kNoBarrier) __syncthreads();
  if (threadIdx.x != 0) return;
  const int turn = static_cast<int>(atomicInc(drawn, gridDim.x - 1));
  if (kPlanted != Planted::kNotWaitedFor) ptx::WaitAcquire(word, turn);
  ptx::FenceProxyAsyncGlobal();
  float* to = sums + (kPlanted == Planted::kNotAligned ? 1 : 0);
  const uint32_t bytes = kPlanted == Planted::kPastTheEnd   ? kBytes + 16
                         : kPlanted == Planted::kNotAligned ? kBytes - 16
                                                            : kBytes;
  ptx::BulkAdd(to, ptx::SharedAddress(memory), bytes);
  ptx::BulkCommit();
  if (kPlanted == Planted::kOverwrites) own[3] = 1000;
  if (kPlanted == Planted::kTooEarly) ptx::StoreRelease(word, turn + 1);
  if (kPlanted != Planted::kNeverWaits) ptx::BulkWait<0>();
  if (kPlanted == Planted::kWordIsOrdinary) {
    *word = turn + 1;
  } else if (kPlanted != Planted::kTooEarly) {
    ptx::StoreRelease(word, turn + 1);
  }
}

// The sums, if all went well.
template <Planted kPlanted>
std::vector<float> SumsOf() {
  const OnDevice<unsigned> drawn(std::vector<unsigned>{0});
  const OnDevice<int> word(std::vector<int>{0});
  const OnDevice<float> sums(std::vector<float>(kThreads, 0.5f));
  EXPECT_EQ(Launch({kBlocks, kThreads, kBytes + 16}, AddByTurns<kPlanted>, drawn.get(), word.get(),
                   sums.get()),
            cudaSuccess);
  return cudaDeviceSynchronize() == cudaSuccess ? sums.Read() : std::vector<float>();
}

TEST(TurnsDefects, NothingIsWrong) {
  emulator::ForEachSchedule(3, [](const std::string& told) {
    EXPECT_EQ(SumsOf<Planted::kNothing>(), std::vector<float>(kThreads, 15.5f)) << told;
    ExpectNothingTold();
  });
}

TEST(TurnsDefects, RacesAreTold) {
  if (!IsRaceFlavour()) GTEST_SKIP() << "the race flavour sees every access";
  SumsOf<Planted::kNoFence>();
  ExpectTold(Defect::kRace, "no fence.proxy.async is between");
  SumsOf<Planted::kNoBarrier>();
  ExpectTold(Defect::kRace, "are not ordered");
  SumsOf<Planted::kTooEarly>();
  ExpectTold(Defect::kRace, "a write and an earlier write are not ordered");
  SumsOf<Planted::kNotWaitedFor>();
  ExpectTold(Defect::kRace, "a write and an earlier write are not ordered");
  SumsOf<Planted::kWordIsOrdinary>();
  ExpectTold(Defect::kRace, "are not ordered");
  SumsOf<Planted::kOverwrites>();
  ExpectTold(Defect::kRace, "a write meets an asynchronous read that is under way");
}

TEST(TurnsDefects, SharedMemoryIsOverwritten) {
  bool wrong = false;
  emulator::ForEachSchedule(3, [&](const std::string&) {
    const std::vector<float> sums = SumsOf<Planted::kOverwrites>();
    wrong = wrong || sums.empty() || sums[3] != 15.5f;
    emulator::TakeReports();
    emulator::ForgetErrors();
  });
  EXPECT_TRUE(wrong);
}

TEST(TurnsDefects, SumsOfWrongSizeOrNeverWaitedFor) {
  SumsOf<Planted::kNeverWaits>();
  ExpectTold(Defect::kAsync, "sums by the copy engine that it did not wait for");
  SumsOf<Planted::kNotAligned>();
  ExpectTold(Defect::kMemory, "not aligned to 16");
  SumsOf<Planted::kPastTheEnd>();
  ExpectTold(Defect::kMemory, "");
}

// A block that waits for one that has not started hangs a GPU that has no room for both.
__global__ void WaitForTheNext(int* words) {
  if (blockIdx.x + 1 < gridDim.x) ptx::WaitAcquire(words + blockIdx.x + 1, 1);
  ptx::StoreRelease(words + blockIdx.x, 1);
}

TEST(TurnsDefects, WaitsForALaterBlock) {
  const OnDevice<int> words(std::vector<int>(3));
  ASSERT_EQ(Launch({3, 1, 0}, WaitForTheNext, words.get()), cudaSuccess);
  ExpectTold(Defect::kDeadlock, "a word that no block before this one has stored");
}

}  // namespace
}  // namespace annulus
