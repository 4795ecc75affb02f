#include "runtime/bench/calibration_links.h"

#include <algorithm>

#include "kernels/base/kernels.h"
#include "parallel/attendant.h"
#include "parallel/dry_communicator.h"
#include "runtime/bench/calibration_calls.h"
#include "runtime/bench/statistics.h"
#include "runtime/memory/arena.h"

namespace annulus::runtime {
namespace {

using kernels::DType;
using kernels::View;

constexpr int64_t kSizes[] = {64, 4096, 65536, 1 << 20, 8 << 20, 32 << 20};  // bytes
constexpr int64_t kGreatest = 32 << 20;
constexpr int64_t kOverlapped = 16 << 20;
constexpr double kLeastSeconds = 2e-3;

class MessageBuffers {
 public:
  explicit MessageBuffers(int64_t bytes)
      : arena_(2 * bytes), send_(Allocate(bytes)), receive_(Allocate(bytes)) {}

  parallel::Exchange ExchangeOf(const Neighbours& neighbours, int64_t bytes) const {
    const int64_t elements = bytes / SizeOf(DType::kF32);
    return {.send = send_.Slice(0, 0, elements),
            .to = neighbours.next,
            .receive = receive_.Slice(0, 0, elements),
            .from = neighbours.previous};
  }

 private:
  View Allocate(int64_t bytes) {
    return arena_.Allocate(DType::kF32, {bytes / SizeOf(DType::kF32)},
                           kernels::MemoryCategory::kRing, "calibration");
  }

  Arena arena_;
  View send_;
  View receive_;
};

}  // namespace

LinkSamples MeasureMessages(parallel::Communicator& world, const Neighbours& neighbours,
                            int64_t rounds) {
  const MessageBuffers buffers(kGreatest);
  LinkSamples samples;
  for (const int64_t bytes : kSizes) {
    const parallel::Exchange exchange = buffers.ExchangeOf(neighbours, bytes);
    const auto once = [&] { world.Start(exchange).Wait(); };
    once();
    world.Barrier();
    std::vector<double> longest{SecondsOf(Clock::kWall, once)};
    world.AllReduceMax(longest);  // all ranks must repeat as often
    const int repeats =
        std::clamp(static_cast<int>(kLeastSeconds / std::max(longest[0], 1e-6)), 1, 1000);
    std::vector<double> seconds;
    for (int64_t round = 0; round < rounds; ++round) {
      world.Barrier();
      const double all = SecondsOf(Clock::kWall, [&] {
        for (int i = 0; i < repeats; ++i) once();
      });
      seconds.push_back(all / repeats);
    }
    samples.messages.push_back({.bytes = static_cast<double>(bytes), .seconds = Median(seconds)});
  }
  return samples;
}

double MeasureReduction(parallel::Communicator& world, const parallel::NetworkRates& network,
                        int64_t rounds) {
  constexpr int64_t kElements = 4 << 20;
  Arena arena(kElements * SizeOf(DType::kF32));
  const View data =
      arena.Allocate(DType::kF32, {kElements}, kernels::MemoryCategory::kRing, "calibration");
  std::vector<double> seconds;
  for (int64_t round = -1; round < rounds; ++round) {
    world.Barrier();
    std::vector<double> slowest{SecondsOf(Clock::kWall, [&] { world.AllReduceSum(data).Wait(); })};
    world.AllReduceMax(slowest);
    if (round >= 0) seconds.push_back(slowest[0]);
  }
  // What its messages take: the same operation by a clock that knows links and nothing else.
  parallel::NetworkRates links_only = network;
  links_only.reduce_s_per_byte = 1e-30;
  kernels::DryClock clock;
  parallel::LinkClock links(clock, &links_only, world.rank());
  parallel::DryCommunicator dry(world.size(), links);
  dry.AllReduceSum(View(nullptr, DType::kF32, {kElements})).Wait();
  const int64_t own = parallel::ShareOf(kElements, world.rank(), world.size()).size();
  const auto summed = static_cast<double>(own * world.size() * SizeOf(DType::kF32));
  return std::max(0.0, Median(seconds) - clock.now_s()) / summed;
}

double MeasureHostShare(parallel::Communicator& world, const Neighbours& neighbours,
                        const HostShareSetup& setup) {
  constexpr int64_t kTokens = 2048;
  const MessageBuffers buffers(kOverlapped);
  const parallel::Exchange exchange = buffers.ExchangeOf(neighbours, kOverlapped);
  const double moving_s = setup.link.s_per_byte * static_cast<double>(kOverlapped);
  if (moving_s == 0) return 0;
  parallel::Attendant attendant(world);
  const MakeCall make = AttentionFold(DType::kF32, 64, kTokens, attendant.meanwhile());
  Arena arena(DryPeak(setup.table, [&](const WorkloadContext& context) { make(context)(); }));
  kernels::Kernels kernels(setup.table, arena);
  const std::function<void()> fold = make({kernels, arena});
  std::vector<double> shares;
  for (int64_t round = -1; round < setup.rounds; ++round) {
    world.Barrier();
    const double alone_s = SecondsOf(Clock::kWall, fold);
    world.Barrier();
    const double both_s = SecondsOf(Clock::kWall, [&] {
      parallel::Transfer transfer = world.Start(exchange);
      fold();
      attendant.Finish();
      transfer.Wait();
    });
    if (round >= 0) shares.push_back((both_s - alone_s) / moving_s);
  }
  return std::clamp(Median(shares), 0.0, 1.0);
}

}  // namespace annulus::runtime
