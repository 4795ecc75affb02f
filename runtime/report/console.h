// What a person sees of a run: the start-up table, step lines and the closing tables.
#pragma once

#include <chrono>
#include <string>
#include <utility>
#include <vector>

#include "kernels/base/kernel_table.h"
#include "runtime/report/run_directory.h"
#include "runtime/train/trainer.h"

namespace annulus::runtime {

// A row of the start-up table.
struct StartUpRow {
  std::string what;
  std::string value;
};

// Where a rank runs, one row of the device map.
struct RankDevice {
  int rank = 0;
  int data_index = 0;
  int context_rank = 0;
  std::string host;
  std::string device;  // as in "cpu, 2 threads"
};

std::string StartUpTable(const std::vector<StartUpRow>& rows,
                         const std::vector<kernels::KernelChoice>& kernels,
                         const std::vector<RankDevice>& devices);

// Prints to standard output and writes to the run's files.
class ConsoleObserver final : public TrainObserver {
 public:
  struct Setup {
    RunDirectory& directory;  // must outlive this
    int64_t log_every = 1;    // every so manyth step is printed, every step is written
    bool is_task = false;
    std::vector<std::string> hosts;  // by rank
  };
  explicit ConsoleObserver(Setup setup) : setup_(std::move(setup)) {}

  void OnStep(const StepReport& report) override;
  void OnEvaluation(int64_t step, const EvaluationReport& report) override;

 private:
  Setup setup_;
};

// `hosts` by rank: a straggler is named with its host.
std::string StepLine(const StepReport& report, const std::vector<std::string>& hosts);

// The closing lines: losses beside their baselines, by position, and speed.
std::string SummaryText(const RunSummary& summary);

}  // namespace annulus::runtime
