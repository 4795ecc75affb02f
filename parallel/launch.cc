#include "parallel/launch.h"

#include <charconv>
#include <cstdlib>
#include <cstring>

#include "kernels/base/error.h"

namespace annulus::parallel {
namespace {

// The variables of one launcher. It counts as the one that started us when `mark` and `size` are
// set.
struct Variables {
  Launcher launcher;
  const char* mark;
  const char* size;
  const char* rank;
  const char* local_rank;
};

// In order: an mpirun inside a Slurm job starts its ranks with srun's variables too, so what is
// nearest to the process comes first. PMI_SIZE alone is no mark of Hydra, for srun --mpi=pmi2 sets
// it as well. SLURM_NTASKS is no mark of srun: a batch script has it, and is one process.
constexpr Variables kLaunchers[] = {
    {Launcher::kOpenMpi, "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK",
     "OMPI_COMM_WORLD_LOCAL_RANK"},
    {Launcher::kHydra, "MPI_LOCALRANKID", "PMI_SIZE", "PMI_RANK", "MPI_LOCALRANKID"},
    {Launcher::kSlurm, "SLURM_STEP_NUM_TASKS", "SLURM_STEP_NUM_TASKS", "SLURM_PROCID",
     "SLURM_LOCALID"},
};

int NumberIn(const char* name, const char* text) {
  int number = 0;
  const char* const end = text + std::strlen(text);
  const auto [stop, error] = std::from_chars(text, end, number);
  if (error != std::errc() || stop != end || number < 0) {
    ThrowConfigError("the environment variable {} is '{}'; a launcher sets it to a number", name,
                     text);
  }
  return number;
}

// What to start this build with instead.
std::string Advice(const LaunchFacts& launch, const MpiFacts& mpi) {
  const bool open_mpi = mpi.library.starts_with("Open MPI");
  const bool mpich = mpi.library.starts_with("MPICH");
  if (launch.launcher == Launcher::kSlurm) {
    const std::string used =
        launch.slurm_mpi.empty() ? "" : fmt::format(" (this was --mpi={})", launch.slurm_mpi);
    return fmt::format("start it with srun --mpi={}{}, or with the mpirun of {}",
                       open_mpi ? "pmix"
                       : mpich  ? "pmi2"
                                : "pmix or --mpi=pmi2",
                       used, mpi.library);
  }
  return fmt::format(
      "start it with the mpirun of {}{}, or build annulus against the MPI whose mpirun this was",
      mpi.library,
      open_mpi ? " (mpirun.openmpi on Debian)"
      : mpich  ? " (mpirun.mpich on Debian)"
               : "");
}

}  // namespace

std::string_view NameOf(Launcher launcher) {
  switch (launcher) {
    case Launcher::kNone:
      return "a shell";
    case Launcher::kOpenMpi:
      return "Open MPI's mpirun";
    case Launcher::kHydra:
      return "MPICH's mpirun";
    case Launcher::kSlurm:
      return "srun";
  }
  return "?";
}

LaunchFacts DetectLaunch(const EnvironmentLookup& lookup) {
  const auto number = [&](const char* name, int otherwise) {
    const char* const text = lookup(name);
    return text == nullptr ? otherwise : NumberIn(name, text);
  };
  LaunchFacts facts;
  if (const char* const type = lookup("SLURM_MPI_TYPE")) facts.slurm_mpi = type;
  for (const Variables& variables : kLaunchers) {
    if (lookup(variables.mark) == nullptr || lookup(variables.size) == nullptr) continue;
    facts.launcher = variables.launcher;
    facts.processes = number(variables.size, 1);
    facts.rank = number(variables.rank, 0);
    facts.local_rank = number(variables.local_rank, 0);
    break;
  }
  return facts;
}

LaunchFacts DetectLaunch() {
  return DetectLaunch([](const char* name) { return std::getenv(name); });
}

std::string LaunchProblem(const LaunchFacts& launch, const MpiFacts& mpi) {
  if (launch.launcher == Launcher::kNone || launch.processes == mpi.world_size) return {};
  const std::string started =
      fmt::format("{} started {} processes", NameOf(launch.launcher), launch.processes);
  if (!mpi.built_in) {
    return fmt::format(
        "{}, but this annulus was built without MPI, so each would train on its own; configure "
        "with -DANNULUS_MPI=ON, or start one process with --ranks {}",
        started, launch.processes);
  }
  return fmt::format("{}, but {} counts {} in this one's world; {}", started, mpi.library,
                     mpi.world_size, Advice(launch, mpi));
}

}  // namespace annulus::parallel
