#include "runtime/bench/bench_rank.h"

#include <set>

#include "kernels/base/error.h"
#include "kernels/cuda/cuda_table.h"
#include "runtime/machine/device_table.h"
#include "runtime/run/together.h"

namespace annulus::runtime {
namespace {

// What the host of a device's rank does takes one core.
int HostThreads(const DeviceOptions& device) {
  if (device.kind == DeviceKind::kCpu) return device.threads;
  if (device.threads != 0) {
    ThrowConfigError(
        "device.threads = {} counts threads of cores, and device.kind = cuda computes on GPUs: "
        "leave it out",
        device.threads);
  }
  return 1;
}

}  // namespace

BenchRank::BenchRank(const RunConfig& config, parallel::Communicator& world)
    : world_(world), launch_(ReadBenchLaunch(world, HostThreads(config.device))) {
  TryTogether(world, [&] {
    table_ = MakeDeviceTable(
        config.device, {.threads = launch_.threads, .node_local_rank = launch_.node_local_rank});
  });
  transport_ = ChooseTensorTransport(config, world, *table_);
  if (config.device.kind == DeviceKind::kCpu) return;
  places_ = world.AllGatherText(kernels::CudaDevicePlace());
}

std::optional<int> BenchRank::DevicesOf(int ranks) const {
  if (on_cores()) return std::nullopt;
  return static_cast<int>(std::set(places_.begin(), places_.begin() + ranks).size());
}

std::string BenchRank::SharingText() const {
  return fmt::format("{} ranks share {} device{}", world_.size(), devices(),
                     devices() == 1 ? "" : "s");
}

std::vector<std::string> BenchRank::Notes() const {
  std::vector<std::string> notes = launch_.advice;
  if (!on_cores()) {
    notes.push_back(
        fmt::format("computed on {}, messages over {}", table_->Name(), group().Name()));
  }
  if (!transport_.reason.empty()) {
    notes.push_back("messages go through the host: " + transport_.reason);
  }
  return notes;
}

}  // namespace annulus::runtime
