// A rank of a benchmark over ranks: what it computes with, and what carries its tensors.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "kernels/base/kernel_table.h"
#include "parallel/communicator.h"
#include "runtime/bench/bench_launch.h"
#include "runtime/bench/bench_threads.h"
#include "runtime/config/run_config.h"
#include "runtime/run/tensor_transport.h"

namespace annulus::runtime {

class BenchRank {
 public:
  // Collective over `world`, which must outlive this. `config` as ResolveDevice() left it. Throws
  // ConfigError on every rank alike for what ReadBenchLaunch() refuses, a device that is not there,
  // a transport that cannot be had, and device.threads where a device computes.
  BenchRank(const RunConfig& config, parallel::Communicator& world);

  const BenchLaunch& launch() const { return launch_; }
  kernels::KernelTable& table() const { return *table_; }
  // Of all ranks.
  parallel::Communicator& group() const { return transport_.group ? *transport_.group : world_; }

  bool on_cores() const { return places_.empty(); }
  int threads() const { return on_cores() ? launch_.threads : kOnDevice; }
  // How many devices the first `ranks` ranks have between them; nothing on cores.
  std::optional<int> DevicesOf(int ranks) const;
  int devices() const { return DevicesOf(world_.size()).value_or(0); }
  bool shares_devices() const { return !on_cores() && devices() < world_.size(); }
  // As in "2 ranks share 1 device", of all ranks.
  std::string SharingText() const;

  // What is wrong with the launch, and what was chosen without being asked for.
  std::vector<std::string> Notes() const;

 private:
  parallel::Communicator& world_;
  BenchLaunch launch_;
  std::unique_ptr<kernels::KernelTable> table_;
  TensorTransport transport_;        // ends before the table
  std::vector<std::string> places_;  // of devices, by rank; empty on cores
};

}  // namespace annulus::runtime
