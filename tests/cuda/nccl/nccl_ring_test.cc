// Ring attention on emulated devices: over NCCL the results are those of the reference, and bit for
// bit those of the same kernels over messages that are staged through the host.
#include <gtest/gtest.h>

#include <functional>
#include <memory>

#include "kernels/cuda/cuda_table.h"
#include "parallel/local_communicator.h"
#include "parallel/nccl_communicator.h"
#include "parallel/staged_communicator.h"
#include "tests/cuda/emulator/memory.h"
#include "tests/cuda/emulator/options.h"
#include "tests/parallel/ring_case.h"
#include "tests/parallel/ring_reference.h"

namespace annulus::parallel {
namespace {

using kernels::DType;
using kernels::KernelTable;
using kernels::MaskKind;

// Makes the group that moves tensors, over one that speaks for the hosts.
using Transport = std::function<std::unique_ptr<Communicator>(Communicator&, KernelTable&)>;

std::unique_ptr<Communicator> OverNccl(Communicator& host, KernelTable& table) {
  return CreateNcclWorld(
      host, {.compute = kernels::CudaStreamOf(table), .staging_bytes = int64_t{1} << 16});
}

std::unique_ptr<Communicator> Staged(Communicator& host, KernelTable& table) {
  return std::make_unique<StagedCommunicator>(host, table);
}

RingResults RunOnDevices(const Whole& whole, const RingCase& c, const ScheduleSpec& schedule,
                         const Transport& transport) {
  RingResults results(whole, c.ranks);
  RunRanks(c.ranks, [&](Communicator& host) {
    // Little, for the emulator opens and closes all of it with every kernel.
    constexpr int64_t kBytes = int64_t{1} << 20;
    const auto table = kernels::CreateCudaTable({.node_local_rank = host.rank()});
    runtime::Arena arena(kBytes, table->ReserveTensorMemory(kBytes));
    const std::unique_ptr<Communicator> context = transport(host, *table);
    RunRingOn({*context, *table, arena}, whole, c, schedule, results);
    // Nobody's memory goes while another's messages may be on their way.
    table->Wait();
    context->Barrier();
  });
  return results;
}

class NcclRingTest : public testing::TestWithParam<RingCase> {};

void ExpectSameBits(const RingResults& results, const RingResults& staged) {
  EXPECT_EQ(results.out, staged.out);
  EXPECT_EQ(results.lse, staged.lse);
  EXPECT_EQ(results.dq, staged.dq);
  EXPECT_EQ(results.dk, staged.dk);
  EXPECT_EQ(results.dv, staged.dv);
  EXPECT_EQ(results.cost, staged.cost);
}

TEST_P(NcclRingTest, MatchesTheReferenceAndStagedMessages) {
  const Whole whole(GetParam());
  const RingReference reference(whole);
  for (const ScheduleSpec& schedule : SchedulesFor(GetParam().ring())) {
    SCOPED_TRACE(Describe(schedule));
    const RingResults results = RunOnDevices(whole, GetParam(), schedule, OverNccl);
    reference.ExpectMatch(results);
    ExpectSameBits(results, RunOnDevices(whole, GetParam(), schedule, Staged));
  }
}

constexpr RingCase kTypical{3, PartitionKind::kZigzag, MaskKind::kCausal, 2, 37};

TEST(NcclRing, BitsDoNotDependOnTheOrderOfStreams) {
  if (emulator::RacesAreDetected()) return;  // and need no other order to see what nothing orders
  const Whole whole(kTypical);
  const RingResults staged = RunOnDevices(whole, kTypical, {}, Staged);
  // Orders at random are left to the flavour that is fastest.
  emulator::ForEachSchedule(emulator::AddressSanitized() ? 0 : 2, [&](const std::string& told) {
    SCOPED_TRACE(told);
    ExpectSameBits(RunOnDevices(whole, kTypical, {}, OverNccl), staged);
  });
}

std::vector<RingCase> Cases() {
  // The race detector takes ten times as long, AddressSanitizer three times.
  if (emulator::RacesAreDetected()) {
    return {{2, PartitionKind::kZigzag, MaskKind::kCausal, 2, 21}};
  }
  std::vector<RingCase> cases;
#ifdef __SANITIZE_ADDRESS__
  const std::vector<int> all_ranks = {3};
#else
  const std::vector<int> all_ranks = {1, 2, 3, 4};
#endif
  for (const int ranks : all_ranks) {
    cases.push_back({ranks, PartitionKind::kZigzag, MaskKind::kCausal, 2, 37});
    cases.push_back({ranks, PartitionKind::kStriped, MaskKind::kWindow, 4, 29});
    cases.push_back({ranks, PartitionKind::kContiguous, MaskKind::kFull, 1, 21});
  }
  cases.push_back({3, PartitionKind::kZigzag, MaskKind::kDocuments, 2, 45});
  cases.push_back({2, PartitionKind::kZigzag, MaskKind::kCausal, 2, 33, DType::kBF16});
  cases.push_back({4, PartitionKind::kZigzag, MaskKind::kCausal, 2, 41, DType::kF32, 2});
  cases.push_back({4, PartitionKind::kContiguous, MaskKind::kCausal, 1, 23, DType::kF32, 4});
  return cases;
}

INSTANTIATE_TEST_SUITE_P(All, NcclRingTest, testing::ValuesIn(Cases()),
                         testing::PrintToStringParamName());

}  // namespace
}  // namespace annulus::parallel
