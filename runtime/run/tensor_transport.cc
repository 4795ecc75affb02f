#include "runtime/run/tensor_transport.h"

#include <chrono>

#include "kernels/base/error.h"
#include "kernels/cuda/cuda_table.h"
#include "parallel/nccl_communicator.h"
#include "parallel/staged_communicator.h"

namespace annulus::runtime {

TensorTransport ChooseTensorTransport(const RunConfig& config, parallel::Communicator& world,
                                      kernels::KernelTable& table) {
  if (config.device.kind != DeviceKind::kCuda) return {};
  const TransportKind asked = config.parallel.transport;
  const bool may_choose = asked == TransportKind::kAuto && world.size() > 1;
  std::string problem;
  if (asked == TransportKind::kNccl || may_choose) problem = parallel::NcclProblem(world);
  if (asked == TransportKind::kNccl && !problem.empty()) {
    ThrowConfigError("parallel.transport = nccl, but {}; messages can go through the host: {}",
                     problem, "--parallel.transport mpi, or threads within one process");
  }
  if (asked == TransportKind::kNccl || (may_choose && problem.empty())) {
    const std::chrono::duration<double> seconds(config.parallel.timeout_s);
    return {
        parallel::CreateNcclWorld(
            world,
            {.compute = kernels::CudaStreamOf(table),
             .deadline = std::chrono::duration_cast<std::chrono::steady_clock::duration>(seconds)}),
        ""};
  }
  return {std::make_unique<parallel::StagedCommunicator>(world, table), problem};
}

}  // namespace annulus::runtime
