#include "runtime/cli/train_command.h"

#include "runtime/run/train_run.h"

namespace annulus::runtime {

int RunTrain(const RunConfig& config, Job& job) {
  job.RunRanks(config, [&](parallel::Communicator& world) { TrainOnRank(config, world); });
  return 0;
}

}  // namespace annulus::runtime
