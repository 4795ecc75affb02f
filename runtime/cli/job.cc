#include "runtime/cli/job.h"

#include <algorithm>
#include <chrono>

#include "kernels/base/error.h"
#include "parallel/local_communicator.h"
#include "runtime/run/together.h"

namespace annulus::runtime {
namespace {

std::chrono::steady_clock::duration DeadlineOf(const RunConfig& config) {
  return std::chrono::duration_cast<std::chrono::steady_clock::duration>(
      std::chrono::duration<double>(config.parallel.timeout_s));
}

}  // namespace

void Job::Start() {
  if (launch_.launcher != parallel::Launcher::kNone && parallel::MpiAvailable()) {
    session_ = std::make_unique<parallel::MpiSession>();
  }
  const int world_size = OverMpi() ? parallel::CreateMpiWorld(*session_)->size() : 1;
  const std::string problem =
      parallel::LaunchProblem(launch_, {.built_in = parallel::MpiAvailable(),
                                        .library = parallel::MpiLibrary(),
                                        .world_size = world_size});
  if (!problem.empty()) throw ConfigError(problem);
}

void Job::Together(const std::function<void()>& action) {
  if (!OverMpi()) return action();
  const auto world = parallel::CreateMpiWorld(*session_);
  TryTogether(*world, action);
}

void Job::RunRanks(const RunConfig& config,
                   const std::function<void(parallel::Communicator& world)>& body) {
  const TransportKind transport = config.parallel.transport;
  if (OverMpi() && transport != TransportKind::kThreads) {
    const auto world = parallel::CreateMpiWorld(*session_, {.deadline = DeadlineOf(config)});
    if (config.ranks > 0 && config.ranks != world->size()) {
      ThrowConfigError(
          "ranks = {} but {} started {} processes, each of them a rank: leave --ranks out",
          config.ranks, NameOf(launch_.launcher), world->size());
    }
    return body(*world);
  }
  if (launch_.processes > 1) {
    ThrowConfigError(
        "parallel.transport = threads runs all ranks in one process, but {} started {}: start one "
        "process, or leave parallel.transport = auto",
        NameOf(launch_.launcher), launch_.processes);
  }
  if (transport == TransportKind::kMpi) {
    ThrowConfigError(
        "parallel.transport = mpi, but no launcher started this process: run it under mpirun or "
        "srun, or use --ranks N for ranks as threads");
  }
  parallel::RunRanks(std::max(config.ranks, 1), body, DeadlineOf(config));
}

void Job::AbortPeers(int exit_status) const noexcept {
  if (OverMpi()) session_->Abort(exit_status);
}

}  // namespace annulus::runtime
