// The memory of a rank as predicted, as charged and as the operating system saw it.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "kernels/base/kernel_table.h"
#include "runtime/memory/arena.h"
#include "runtime/train/plan.h"

namespace annulus::runtime {

// One rank's row of the memory table. Everything in bytes.
struct RankMemory {
  int rank = 0;
  std::string host = {};
  CategoryBytes predicted{};  // by category, at the predicted peak
  CategoryBytes measured{};   // by category, at the ledger's peak; all 0 in a plan
  int64_t predicted_peak_bytes = 0;
  int64_t peak_bytes = 0;
  int64_t predicted_peak_activation_bytes = 0;
  int64_t peak_activation_bytes = 0;
  // The process, which holds all ranks when ranks are threads.
  int64_t baseline_bytes = 0;  // resident before the first tensor byte: program, libraries, MPI
  int64_t os_peak_bytes = 0;
  // Of os_peak_bytes: memory of peers that was read in place, which is on their ledgers. 0 where
  // ranks are threads.
  int64_t peer_bytes_mapped = 0;
  // The rank's device as its driver sees it, all ranks and other processes on it together; 0 where
  // tensors are in the host's memory.
  int64_t device_baseline_bytes = 0;  // before the first tensor byte: contexts, libraries
  int64_t device_bytes = 0;           // after the last step
  int64_t device_total_bytes = 0;

  // What nobody accounts for: kernels and libraries that were loaded while the run went on.
  int64_t device_unexplained_bytes() const {
    return device_total_bytes == 0 ? 0 : device_bytes - device_baseline_bytes - peak_bytes;
  }
  // The probabilities that a step would have kept, had they been stored: L*B*H*T*n in f32.
  int64_t score_matrix_bytes = 0;
};

// The predicted half.
RankMemory PredictedMemory(const RunConfig& config, const DecoderShape& shape,
                           const RankPlan& plan);

// What is held before the first tensor byte.
struct MemoryBaseline {
  int64_t resident_bytes = 0;
  int64_t device_bytes = 0;
};
MemoryBaseline ReadMemoryBaseline(const kernels::KernelTable& table);

// Adds the measured half, while the tensors are still there.
void AddMeasuredMemory(const Arena& arena, const MemoryBaseline& baseline,
                       const kernels::KernelTable& table, RankMemory& memory);

// As memory.json holds it, and back: ranks send theirs to the one that reports.
nlohmann::ordered_json ToJson(const RankMemory& memory);
RankMemory RankMemoryFromJson(const nlohmann::ordered_json& json);

// The tables shown at the end of a run: category by category for each group of neighbouring ranks
// whose ledgers agree, then rank by rank what the operating system saw.
std::string MemoryTable(const std::vector<RankMemory>& ranks);

// The predicted bytes by category, shown at the start of a run and by plan.
std::string PredictedMemoryTable(const std::vector<RankMemory>& ranks);

}  // namespace annulus::runtime
