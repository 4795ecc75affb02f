// What carries tensors between ranks, where they are in a device's memory.
#pragma once

#include <memory>
#include <string>

#include "kernels/base/kernel_table.h"
#include "parallel/communicator.h"
#include "runtime/config/run_config.h"

namespace annulus::runtime {

struct TensorTransport {
  // Of all ranks; null where tensors are the host's and the ranks' own group carries them.
  std::unique_ptr<parallel::Communicator> group;
  // Why it is not NCCL, where parallel.transport = auto had the choice; else empty.
  std::string reason;
};

// NCCL where parallel.transport asks for it, or leaves the choice and every rank has a GPU of its
// own; else messages are staged through the host. Collective over `world`, which must outlive the
// result, as must `table`. Throws ConfigError on every rank alike where NCCL is asked for and
// cannot be had.
TensorTransport ChooseTensorTransport(const RunConfig& config, parallel::Communicator& world,
                                      kernels::KernelTable& table);

}  // namespace annulus::runtime
