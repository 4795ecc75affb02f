// The declarations of nccl_communicator.h in a build without NCCL.
#include "kernels/base/error.h"
#include "parallel/nccl_communicator.h"

namespace annulus::parallel {

std::string NcclVersion() { return {}; }

std::string NcclProblem(Communicator&) {
  return "this annulus was built without NCCL (install it and configure with -DANNULUS_NCCL=ON)";
}

std::unique_ptr<Communicator> CreateNcclWorld(Communicator& host, const NcclOptions&) {
  throw ConfigError(NcclProblem(host));
}

}  // namespace annulus::parallel
