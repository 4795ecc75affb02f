// The declarations of nccl_communicator.h in a build without NCCL.
#include "kernels/base/error.h"
#include "parallel/nccl_communicator.h"

namespace annulus::parallel {

bool NcclBuiltIn() { return false; }

std::string NcclVersion() { return {}; }

std::unique_ptr<Communicator> CreateNcclWorld(Communicator&, const NcclOptions&) {
  ThrowConfigError(
      "this annulus was built without NCCL; install it and configure with -DANNULUS_NCCL=ON, or "
      "let "
      "messages go through the host: --parallel.transport mpi");
}

}  // namespace annulus::parallel
