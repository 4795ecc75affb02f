// How this process takes part in a run: as one of the processes of an MPI launch, or alone with its
// ranks as threads.
#pragma once

#include <functional>
#include <memory>
#include <optional>

#include "parallel/communicator.h"
#include "parallel/launch.h"
#include "parallel/mpi_communicator.h"
#include "runtime/config/run_config.h"

namespace annulus::runtime {

class Job {
 public:
  // Looks at what launched this process. Throws ConfigError where that contradicts itself.
  void Detect() { launch_ = parallel::DetectLaunch(); }

  // Starts MPI where a launcher started several processes, so that mistakes are heard of together.
  // Throws ConfigError where launcher and MPI do not agree, as when N processes each believe they
  // are alone.
  void Start();

  // Whether this process speaks for the job: mistakes are made on all ranks alike and told once.
  bool speaks() const { return launch_.rank == 0; }
  const parallel::LaunchFacts& launch() const { return launch_; }

  // Runs `action` on every process; a ConfigError on one is thrown on all. After Start().
  void Together(const std::function<void()>& action);

  // Runs `body` on every rank that `config` asks for, with the group of all of them. After Start().
  void RunRanks(const RunConfig& config,
                const std::function<void(parallel::Communicator& world)>& body);

  // Ends every process of the job when this one failed. Returns where this one is alone.
  void AbortPeers(int exit_status) const noexcept;

 private:
  bool OverMpi() const { return session_ != nullptr; }

  parallel::LaunchFacts launch_;
  std::unique_ptr<parallel::MpiSession> session_;
};

}  // namespace annulus::runtime
