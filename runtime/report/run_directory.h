// The files of a run, written by the rank that reports.
#pragma once

#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "runtime/io/json_lines.h"
#include "runtime/report/activity_report.h"
#include "runtime/report/memory_report.h"
#include "runtime/train/trainer.h"

namespace annulus::runtime {

// What summary.json holds.
struct RunSummary {
  TrainReport train;
  int64_t parameters = 0;
  bool is_task = false;     // a synthetic task: its loss counts, entropies do not
  double unigram_nats = 0;  // of the held-out text, on the very targets of its loss
  double bigram_nats = 0;
  double wall_s = 0;
};

class RunDirectory {
 public:
  // Creates `path` and its parents, writes config.ini and starts an empty metrics.jsonl. Throws
  // ConfigError when that cannot be written.
  RunDirectory(std::filesystem::path path, const std::string& resolved_ini);

  const std::filesystem::path& path() const { return path_; }

  void AppendStep(const StepReport& report);
  void AppendEvaluation(int64_t step, const EvaluationReport& report, bool is_task);
  void WriteMemory(const std::vector<RankMemory>& ranks) const;
  void WriteActivity(const std::vector<RankActivity>& ranks) const;
  void WriteSummary(const RunSummary& summary) const;
  // model/ in Hugging Face's Llama layout. `flat` holds the parameters, on the kernels' device.
  void WriteModel(const DecoderShape& shape, int64_t max_positions, const ParameterLayout& layout,
                  kernels::Kernels& kernels, ConstView flat) const;

 private:
  std::filesystem::path path_;
  std::optional<JsonLines> metrics_;
};

// memory.json, also the shape of `plan --json`.
nlohmann::ordered_json MemoryJson(const std::vector<RankMemory>& ranks);

}  // namespace annulus::runtime
