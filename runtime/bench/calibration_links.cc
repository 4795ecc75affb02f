#include "runtime/bench/calibration_links.h"

#include <algorithm>
#include <cmath>

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

constexpr double kLeastSeconds = 2e-3;

class MessageBuffers {
 public:
  MessageBuffers(kernels::KernelTable& table, int64_t bytes)
      : arena_(2 * bytes, table.ReserveTensorMemory(2 * bytes)),
        send_(Allocate(bytes)),
        receive_(Allocate(bytes)) {
    kernels::Kernels(table, arena_).Zero(send_);
  }

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

LinkSamples MeasureMessages(const LinkSetup& setup, const Neighbours& neighbours) {
  parallel::Communicator& group = setup.group;
  const std::vector<int64_t>& sizes = setup.sizes.message_bytes;
  const MessageBuffers buffers(setup.table, *std::max_element(sizes.begin(), sizes.end()));
  LinkSamples samples;
  for (const int64_t bytes : sizes) {
    const parallel::Exchange exchange = buffers.ExchangeOf(neighbours, bytes);
    const auto exchanges = [&](int count) {
      for (int i = 0; i < count; ++i) group.Start(exchange).Wait();
      setup.table.Wait();
    };
    exchanges(1);
    group.Barrier();
    std::vector<double> longest{SecondsOf(Clock::kWall, [&] { exchanges(1); })};
    group.AllReduceMax(longest);  // all ranks must repeat as often
    const int repeats =
        std::clamp(static_cast<int>(kLeastSeconds / std::max(longest[0], 1e-6)), 1, 1000);
    std::vector<double> seconds;
    for (int64_t round = 0; round < setup.rounds; ++round) {
      group.Barrier();
      seconds.push_back(SecondsOf(Clock::kWall, [&] { exchanges(repeats); }) / repeats);
    }
    samples.messages.push_back({.bytes = static_cast<double>(bytes), .seconds = Median(seconds)});
  }
  return samples;
}

double MeasureReduction(const LinkSetup& setup, const parallel::NetworkRates& network) {
  parallel::Communicator& group = setup.group;
  const int64_t elements = setup.sizes.reduced_elements;
  const int64_t bytes = elements * SizeOf(DType::kF32);
  Arena arena(bytes, setup.table.ReserveTensorMemory(bytes));
  const View data =
      arena.Allocate(DType::kF32, {elements}, kernels::MemoryCategory::kRing, "calibration");
  kernels::Kernels(setup.table, arena).Zero(data);
  std::vector<double> seconds;
  for (int64_t round = -1; round < setup.rounds; ++round) {
    setup.table.Wait();
    group.Barrier();
    std::vector<double> slowest{SecondsOf(Clock::kWall, [&] {
      group.AllReduceSum(data).Wait();
      setup.table.Wait();
    })};
    group.AllReduceMax(slowest);
    if (round >= 0) seconds.push_back(slowest[0]);
  }
  // What its messages take: the same operation by a clock that knows links and nothing else.
  parallel::NetworkRates links_only = network;
  links_only.reduce_s_per_byte = 1e-30;
  kernels::DryClock clock;
  parallel::LinkClock links(clock, &links_only, group.rank());
  parallel::DryCommunicator dry(group.size(), links);
  dry.AllReduceSum(View(nullptr, DType::kF32, {elements})).Wait();
  const int64_t own = parallel::ShareOf(elements, group.rank(), group.size()).size();
  const auto summed = static_cast<double>(own * group.size() * SizeOf(DType::kF32));
  return std::max(0.0, Median(seconds) - clock.now_s()) / summed;
}

double MeasureHostShare(const LinkSetup& setup, const Neighbours& neighbours,
                        const parallel::LinkRate& link) {
  parallel::Communicator& group = setup.group;
  const int64_t bytes = setup.sizes.overlapped_bytes;
  const MessageBuffers buffers(setup.table, bytes);
  const parallel::Exchange exchange = buffers.ExchangeOf(neighbours, bytes);
  const double moving_s = link.s_per_byte * static_cast<double>(bytes);
  if (moving_s == 0) return 0;
  parallel::Attendant attendant(group);
  const MakeCall make =
      AttentionFold(DType::kF32, 64, setup.sizes.fold_tokens, attendant.meanwhile());
  const int64_t peak =
      DryPeak(setup.table, [&](const WorkloadContext& context) { make(context)(); });
  Arena arena(peak, setup.table.ReserveTensorMemory(peak));
  kernels::Kernels kernels(setup.table, arena);
  const std::function<void()> fold = make({kernels, arena});
  const auto folds = [&](int count) {
    for (int i = 0; i < count; ++i) fold();
    setup.table.Wait();
  };
  folds(1);
  // So many that the message is over before they are.
  const double once_s = SecondsOf(Clock::kWall, [&] { folds(1); });
  const int repeats = std::clamp(static_cast<int>(std::ceil(2 * moving_s / once_s)), 1, 1000);
  std::vector<double> shares;
  for (int64_t round = -1; round < setup.rounds; ++round) {
    group.Barrier();
    const double alone_s = SecondsOf(Clock::kWall, [&] { folds(repeats); });
    group.Barrier();
    const double both_s = SecondsOf(Clock::kWall, [&] {
      parallel::Transfer transfer = group.Start(exchange);
      for (int i = 0; i < repeats; ++i) fold();
      attendant.Finish();
      transfer.Wait();
      setup.table.Wait();
    });
    if (round >= 0) shares.push_back((both_s - alone_s) / moving_s);
  }
  return std::clamp(Median(shares), 0.0, 1.0);
}

}  // namespace annulus::runtime
