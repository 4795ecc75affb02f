#include "runtime/bench/machine_note.h"

#include "kernels/base/error.h"
#include "runtime/bench/bench_threads.h"
#include "runtime/machine/machine_file.h"

namespace annulus::runtime {

std::string NameOf(const MachineModel& machine, const std::string& file) {
  return machine.name.empty() ? file : fmt::format("{} ({})", machine.name, file);
}

void AddMachineNotes(const MachineModel& machine, int ranks, int threads,
                     std::vector<std::string>& notes) {
  if (machine.ranks == ranks && machine.threads_per_rank == threads) return;
  notes.push_back(
      fmt::format("the machine file holds for {}, not for {}: predicted times may be off",
                  RanksText(machine.ranks, machine.threads_per_rank), RanksText(ranks, threads)));
}

MachineModel RequiredMachine(const RunConfig& config) {
  if (config.machine.empty()) {
    ThrowConfigError(
        "bench.dry predicts by a machine's rates: name them by --machine FILE (annulus bench "
        "calibrate writes such a file, examples/machines has some)");
  }
  return ReadMachineFile(config.machine);
}

}  // namespace annulus::runtime
