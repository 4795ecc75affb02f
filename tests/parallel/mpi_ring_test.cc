// The driver over MPI gives the bits that it gives over threads, with every schedule, and counts
// the same. Run under mpirun with as many ranks as divide in more than one way.
#include <fmt/format.h>

#include <cmath>
#include <cstdio>
#include <exception>
#include <span>
#include <vector>

#include "kernels/base/error.h"
#include "parallel/mpi_communicator.h"
#include "tests/parallel/ring_case.h"

namespace annulus::parallel {
namespace {

using namespace std::chrono_literals;

// Of the tokens that this rank holds: the rest of `own` is NaN.
void ExpectBits(const std::vector<float>& own, const std::vector<float>& all, const char* what) {
  size_t held = 0;
  for (size_t i = 0; i < all.size(); ++i) {
    if (std::isnan(own[i])) continue;
    ++held;
    Check(own[i] == all[i], "{}[{}] is {} over MPI, {} over threads", what, i, own[i], all[i]);
  }
  Check(held > 0, "nothing to compare of {}", what);
}

void ExpectSameAsThreads(Communicator& world, const RingCase& c, const ScheduleSpec& schedule) {
  const Whole whole(c);
  RingResults own(whole, c.ranks);
  RunRingRank(whole, c, schedule, world, int64_t{64} << 20, own);
  std::vector<double> mapped{static_cast<double>(own.peer_bytes_mapped)};
  world.AllReduceSum(std::span<double>(mapped));
  Check((mapped[0] > 0) == (c.node > 1), "{} bytes of peers are mapped", mapped[0]);
  const RingResults all = RunRing(whole, c, schedule);
  ExpectBits(own.out, all.out, "out");
  ExpectBits(own.lse, all.lse, "lse");
  ExpectBits(own.dq, all.dq, "dq");
  ExpectBits(own.dk, all.dk, "dk");
  ExpectBits(own.dv, all.dv, "dv");
  const auto rank = static_cast<size_t>(world.rank());
  const RankCost &mine = own.cost[rank], &threads = all.cost[rank];
  Check(mine == threads, "rank {} sent {} bytes over MPI, {} over threads", rank, mine.bytes_sent,
        threads.bytes_sent);
}

void Run(const MpiSession& session) {
  for (int64_t kv_heads : {1, 4}) {
    const auto world = CreateMpiWorld(session, {.deadline = 60s, .piece_bytes = 4099});
    ExpectSameAsThreads(*world,
                        {world->size(), PartitionKind::kZigzag, kernels::MaskKind::kCausal,
                         kv_heads, 173, kernels::DType::kF32, /*ulysses=*/2},
                        {});
    if (world->rank() == 0) fmt::print("Ulysses over 2, {} key/value heads\n", kv_heads);
  }
  for (const ScheduleSpec& schedule : SchedulesFor(CreateMpiWorld(session)->size())) {
    for (PartitionKind partition : {PartitionKind::kContiguous, PartitionKind::kZigzag}) {
      // A communicator each, for counters begin at zero.
      const auto world = CreateMpiWorld(session, {.deadline = 60s, .piece_bytes = 4099});
      RingCase c{world->size(), partition, kernels::MaskKind::kCausal, 2, 173};
      ExpectSameAsThreads(*world, c, schedule);
      for (int node = world->size(); node > 1; node /= 2) {
        const auto sharing = CreateMpiWorld(session, {.deadline = 60s, .piece_bytes = 4099});
        c.node = node;
        ExpectSameAsThreads(*sharing, c, schedule);
      }
      if (world->rank() == 0) fmt::print("{}, {}\n", Describe(schedule), NameOf(partition));
    }
  }
}

}  // namespace
}  // namespace annulus::parallel

int main() {
  const annulus::parallel::MpiSession session;
  try {
    annulus::parallel::Run(session);
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "caught: %s\n", error.what());
    session.Abort(2);
  }
}
