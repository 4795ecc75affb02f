// `annulus bench ring`: how near ring attention over P ranks comes to one process on the same
// cores or, on devices, to the bare kernel on one of them.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "parallel/communicator.h"
#include "runtime/bench/bench_setup.h"
#include "runtime/bench/ring_workload.h"
#include "runtime/bench/rounds.h"
#include "runtime/bench/statistics.h"

namespace annulus::runtime {

// What ring attention is measured against.
enum class RingBaseline : uint8_t {
  kOneProcess,  // the same attention in one process with the threads of all ranks
  kOneRank,     // the same attention on one rank alone, its time divided by the number of ranks
  kOneDevice,   // the same on one device, its time divided by the number of devices
  kNone,        // it does not fit the memory
};

// One pass over all ranks.
struct RingRow {
  RingCase ring;
  int ranks = 1;
  int threads_per_rank = 1;         // or kOnDevice
  std::optional<int> devices = {};  // that the ranks have between them; nothing on cores
  bool backward = false;
  Clock clock = Clock::kWall;
  RingBaseline baseline = RingBaseline::kNone;
  std::optional<Spread> ms = {};           // nothing where it was only predicted
  std::optional<double> baseline_ms = {};  // as it compares: of one rank, divided already
  std::optional<Spread> efficiency = {};   // baseline over ring, of the same round
  // Of one rank: the ring's time over that of the same attention called straight through the kernel
  // table, of the same round. What the driver costs.
  std::optional<Spread> over_kernel = {};
  std::optional<PassSummary> speed = {};  // of all ranks, beside the roof on all of them
  double exposed_comm_ms = 0;             // of the rank that stood longest
  int64_t bytes_sent = 0;                 // by all ranks
  int64_t predicted_bytes_sent = 0;
  std::optional<double> predicted_ms = {};  // with a machine file, as the next ones
  std::optional<double> predicted_exposed_comm_ms = {};
  std::optional<double> predicted_efficiency = {};  // of one rank's time / ranks
};

struct RingReport {
  std::vector<RingRow> rows;  // forward and backward of a case follow one another
  int64_t rounds = 0;         // 0: predicted only
  std::string machine;        // name and file of the machine; "": none
  std::vector<std::string> notes;
};

// Measures every combination of the lists n, head_dim, dtype and mask of `config.bench` by every
// strategy that parallel.strategy leaves open (auto: all that it chooses from). Collective
// over `world`; rank 0's report is whole. Throws InternalError where bytes sent differ from those
// predicted.
RingReport RunRingBench(const RunConfig& config, parallel::Communicator& world,
                        const Progress& progress);

// The same without running it, for `config.ranks` ranks. Requires a machine file.
RingReport ForecastRingBench(const RunConfig& config);

}  // namespace annulus::runtime
