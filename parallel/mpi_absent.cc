// The declarations of mpi_communicator.h in a build without MPI.
#include <cstdlib>

#include "kernels/base/error.h"
#include "parallel/mpi_communicator.h"

namespace annulus::parallel {

bool MpiAvailable() { return false; }

std::string MpiLibrary() { return {}; }

MpiSession::MpiSession() : uncaught_exceptions_(0) {
  ThrowConfigError(
      "this annulus was built without MPI; install Open MPI or MPICH and configure with "
      "-DANNULUS_MPI=ON, or run the ranks as threads with --ranks N");
}

MpiSession::~MpiSession() = default;

// There is no session to call the rest with.
void MpiSession::Abort(int exit_status) const noexcept { std::_Exit(exit_status); }

std::unique_ptr<Communicator> CreateMpiWorld(const MpiSession&, const MpiOptions&) {
  Check(false, "a session of MPI in a build without MPI");
  return nullptr;
}

}  // namespace annulus::parallel
