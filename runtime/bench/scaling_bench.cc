#include "runtime/bench/scaling_bench.h"

#include <algorithm>
#include <map>
#include <memory>
#include <numeric>
#include <set>
#include <string>

#include "kernels/base/error.h"
#include "runtime/bench/bench_rank.h"
#include "runtime/bench/machine_note.h"
#include "runtime/bench/scaling_case.h"
#include "runtime/config/options.h"
#include "runtime/config/validate.h"
#include "runtime/machine/device_table.h"
#include "runtime/machine/machine_file.h"
#include "runtime/machine/placement.h"
#include "runtime/run/together.h"

namespace annulus::runtime {
namespace {

// The first `count` ranks, and the others, by the number of the first.
using Groups = std::map<int, std::unique_ptr<parallel::Communicator>>;

Groups MakeGroups(parallel::Communicator& world, const std::vector<ScalingCase>& cases) {
  Groups groups;
  for (const ScalingCase& scaling : cases) {
    const int count = scaling.row.ranks;
    if (groups.count(count) > 0) continue;
    const bool first = world.rank() < count;
    std::vector<int> members(static_cast<size_t>(first ? count : world.size() - count));
    std::iota(members.begin(), members.end(), first ? 0 : count);
    groups[count] = world.Subgroup(members);
  }
  return groups;
}

// Of the mode of row `i`, on one rank.
size_t BaselineOf(const std::vector<ScalingCase>& cases, size_t i) {
  size_t at = 0;
  while (cases[at].row.mode != cases[i].row.mode || cases[at].row.ranks != 1) ++at;
  return at;
}

// `shares`: how many times what one rank has the many have.
double Efficiency(const ScalingRow& one, double one_ms, const ScalingRow& many, double many_ms,
                  int shares) {
  const double rate_of_one = one.flops / one_ms;
  return many.flops / many_ms / shares / rate_of_one;
}

void FillPredicted(std::vector<ScalingCase>& cases) {
  for (size_t i = 0; i < cases.size(); ++i) {
    ScalingRow& row = cases[i].row;
    const ScalingRow& one = cases[BaselineOf(cases, i)].row;
    if (row.predicted_ms) {
      row.predicted_efficiency =
          Efficiency(one, *one.predicted_ms, row, *row.predicted_ms, row.ranks);
    }
  }
}

// `samples`: of each case, of each round. `roof_flops`: of one rank's.
void FillMeasured(const std::vector<std::vector<StepSample>>& samples, double roof_flops,
                  std::vector<ScalingCase>& cases) {
  for (size_t i = 0; i < cases.size(); ++i) {
    ScalingRow& row = cases[i].row;
    const size_t one = BaselineOf(cases, i);
    std::vector<double> ms, exposed_ms, efficiency;
    std::vector<Round> rounds;
    for (size_t round = 0; round < samples[i].size(); ++round) {
      const StepSample& sample = samples[i][round];
      Check(sample.bytes_sent == row.predicted_bytes_sent, "{} bytes were sent and {} predicted",
            sample.bytes_sent, row.predicted_bytes_sent);
      ms.push_back(sample.ms);
      exposed_ms.push_back(sample.exposed_ms);
      efficiency.push_back(Efficiency(cases[one].row, samples[one][round].ms, row, sample.ms,
                                      row.devices.value_or(row.ranks)));
      rounds.push_back({.roof_s = sample.roof_s, .forward_s = 1e-3 * sample.ms});
    }
    row.bytes_sent = samples[i].front().bytes_sent;
    row.exposed_comm_ms = Median(exposed_ms);
    row.ms = SpreadOf(std::move(ms));
    row.efficiency = SpreadOf(std::move(efficiency));
    row.speed = Summarise(
        rounds, [](const Round& round) { return round.forward_s; }, row.flops,
        row.ranks * roof_flops);
  }
}

ScalingReport EmptyReport(const RunConfig& config, const std::optional<MachineModel>& machine) {
  return {.rows = {},
          .dtype = config.model.dtype,
          .partition = FindOption("parallel.partition")->get(config),
          .machine = machine ? NameOf(*machine, config.machine) : "",
          .notes = {}};
}

void TakeRows(std::vector<ScalingCase>& cases, ScalingReport& report) {
  std::set<std::string> keys;
  for (ScalingCase& scaling : cases) {
    if (scaling.row.ranks > 1) keys.insert(scaling.sharing.text);
    report.rows.push_back(std::move(scaling.row));
  }
  for (const std::string& how : keys) report.notes.push_back("keys are " + how);
}

std::string DescribeCase(const ScalingRow& row) {
  return fmt::format("{} tokens on {} rank{}", row.n, row.ranks, row.ranks == 1 ? "" : "s");
}

}  // namespace

ScalingReport RunScalingBench(const RunConfig& given, parallel::Communicator& world,
                              const Progress& progress) {
  CheckSameConfiguration(world, given);
  RunConfig config = given;
  TryTogether(world, [&] { ResolveDevice(config); });
  const BenchRank own(config, world);
  kernels::KernelTable& table = own.table();
  std::optional<MachineModel> machine;
  std::vector<ScalingCase> cases;
  TryTogether(world, [&] {
    if (!config.machine.empty()) machine = ReadMachineFile(config.machine);
    cases = ScalingCases(config, own.launch().hosts);
  });
  const std::vector<int> machines = own.group().FindMemoryNodes();
  for (ScalingCase& scaling : cases) {
    scaling.row.devices = own.DevicesOf(scaling.row.ranks);
    scaling.sharing =
        FindSharing(scaling.open, {machines.begin(), machines.begin() + scaling.row.ranks});
  }
  TryTogether(world, [&] {
    for (ScalingCase& scaling : cases) Forecast(table, machine ? &*machine : nullptr, scaling);
  });
  const Groups groups = MakeGroups(own.group(), cases);
  for (ScalingCase& scaling : cases) {
    if (world.rank() >= scaling.row.ranks) continue;
    FitRoom(table, machine ? &*machine : nullptr, *groups.at(scaling.row.ranks), scaling);
  }
  FillPredicted(cases);
  Roof roof(table, config.model.dtype, ResolveBench(config.bench, config.device.kind).roof_size);
  roof.Seconds(Clock::kWall);  // not counted: it may load its kernel
  std::vector<std::vector<StepSample>> samples(cases.size());
  for (int64_t round = 0; round < config.bench.repetitions; ++round) {
    for (size_t i = 0; i < cases.size(); ++i) {
      const ScalingRow& row = cases[i].row;
      if (world.rank() == 0 && round == 0) progress(DescribeCase(row));
      if (world.rank() < row.ranks) {
        samples[i].push_back(MeasureStep(cases[i], table, roof, *groups.at(row.ranks)));
      }
      world.Barrier();  // the others wait, that they disturb nobody
    }
  }
  ScalingReport report = EmptyReport(config, machine);
  report.threads_per_rank = own.threads();
  report.rounds = config.bench.repetitions;
  report.notes = own.Notes();
  if (machine) AddMachineNotes(*machine, world.size(), own.threads(), report.notes);
  if (own.shares_devices()) {
    report.notes.push_back(
        own.SharingText() +
        ": efficiency is for each device, not for each rank (predicted: for each "
        "rank); ranks that share a device take turns on it");
  }
  if (world.rank() == 0) FillMeasured(samples, roof.flops(), cases);
  TakeRows(cases, report);
  return report;
}

ScalingReport ForecastScalingBench(const RunConfig& given) {
  RunConfig config = given;
  ResolveDevice(config);
  const std::optional<MachineModel> machine = RequiredMachine(config);
  // Without a launch all ranks share a node, unless parallel.node_size says otherwise.
  const std::vector<std::string> hosts(static_cast<size_t>(std::max(config.ranks, 1)), HostName());
  std::vector<ScalingCase> cases = ScalingCases(config, hosts);
  const std::unique_ptr<kernels::KernelTable> table = ModelDeviceTable(config.device);
  for (ScalingCase& scaling : cases) {
    scaling.sharing = PlanSharing(scaling.open, scaling.row.ranks, &*machine);
    Forecast(*table, &*machine, scaling);
  }
  FillPredicted(cases);
  ScalingReport report = EmptyReport(config, machine);
  report.threads_per_rank = machine->threads_per_rank;
  TakeRows(cases, report);
  return report;
}

}  // namespace annulus::runtime
