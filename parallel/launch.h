// How this process was started, as the launcher's environment tells it, before MPI says anything.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

namespace annulus::parallel {

enum class Launcher : uint8_t {
  kNone,     // from a shell; also a batch script, whose job has tasks but which is one process
  kOpenMpi,  // Open MPI's mpirun
  kHydra,    // MPICH's mpirun, and its kin
  kSlurm,    // srun
};

// As in "Open MPI's mpirun".
std::string_view NameOf(Launcher launcher);

struct LaunchFacts {
  Launcher launcher = Launcher::kNone;
  int processes = 1;      // that the launcher started together
  int rank = 0;           // of this one
  int local_rank = 0;     // among those on this machine: picks a device
  std::string slurm_mpi;  // what srun's --mpi was, where it says so
};

// Looks up a variable of the environment; nullptr where it is not set.
using EnvironmentLookup = std::function<const char*(const char* name)>;

// Throws ConfigError when a launcher's variable is not the number it has to be.
LaunchFacts DetectLaunch(const EnvironmentLookup& lookup);
// Of this process.
LaunchFacts DetectLaunch();

// What MPI says, for comparison.
struct MpiFacts {
  bool built_in = false;
  std::string library;  // MpiLibrary()
  int world_size = 1;   // once MPI is started; 1 without it
};

// Empty when launcher and MPI agree. Otherwise N processes would each believe they are alone (or
// otherwise miscounted): what is wrong and what to do, for a ConfigError.
std::string LaunchProblem(const LaunchFacts& launch, const MpiFacts& mpi);

}  // namespace annulus::parallel
