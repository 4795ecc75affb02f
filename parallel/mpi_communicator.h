// Ranks as processes, over MPI. mpi.h stays in the .cc: nothing that includes this needs MPI, and
// without it (mpi_absent.cc) the same declarations explain themselves.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>

#include "parallel/communicator.h"

namespace annulus::parallel {

struct Workbench;
struct MpiOptions;

// Whether this build can speak MPI.
bool MpiAvailable();

// As in "Open MPI 4.1.4", "MPICH 4.0.2"; empty without MPI. May be called before MPI starts.
std::string MpiLibrary();

// MPI_Init and MPI_Finalize of this process; at most one, ever. Communicators must end before it.
//
// After a failure (a wait that failed, or an exception that unwinds past the session) it does not
// finalize: MPI_Finalize waits for peers that may never come. A process that exits without it makes
// the launcher end the job; Abort() does so at once and is what main should call.
class MpiSession {
 public:
  // Asks for MPI_THREAD_FUNNELED: kernels run threads, but only the one that owns a rank talks to
  // MPI, and more would cost a lock in every call. Throws SystemError when MPI cannot start, and
  // ConfigError in a build without MPI.
  MpiSession();
  ~MpiSession();
  MpiSession(const MpiSession&) = delete;
  MpiSession& operator=(const MpiSession&) = delete;

  // Ends every process of the job, this one first, as a failed main does. Of itself this process
  // ends within seconds even where the launcher is out of reach.
  [[noreturn]] void Abort(int exit_status) const noexcept;

 private:
  friend std::unique_ptr<Communicator> CreateMpiWorld(const MpiSession&, const MpiOptions&);

  std::shared_ptr<Workbench> workbench_;
  int uncaught_exceptions_;
};

struct MpiOptions {
  std::chrono::steady_clock::duration deadline = kDefaultDeadline;
  // Longer messages travel in pieces of this many bytes. MPI 3 counts in int, so at most 2^31 - 1.
  int64_t piece_bytes = int64_t{1} << 30;
};

// All processes of the launch. Collective.
std::unique_ptr<Communicator> CreateMpiWorld(const MpiSession& session,
                                             const MpiOptions& options = {});

}  // namespace annulus::parallel
