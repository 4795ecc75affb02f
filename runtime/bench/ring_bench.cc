#include "runtime/bench/ring_bench.h"

#include <algorithm>
#include <array>

#include "kernels/base/error.h"
#include "kernels/cpu/cpu_table.h"
#include "runtime/bench/bench_rank.h"
#include "runtime/bench/machine_note.h"
#include "runtime/config/strategy.h"
#include "runtime/config/validate.h"
#include "runtime/machine/device_table.h"
#include "runtime/machine/machine_file.h"
#include "runtime/machine/placement.h"
#include "runtime/run/together.h"

namespace annulus::runtime {
namespace {

constexpr std::array<int64_t, 3> kLengths = {4096, 8192, 16384};

// Every strategy that parallel.strategy leaves open.
std::vector<ParallelOptions> StrategiesOf(const RunConfig& config, int ranks,
                                          std::span<const std::string> hosts) {
  ParallelOptions parallel = config.parallel;
  const int64_t heads = ResolveBench(config.bench).heads;
  parallel.context_size = ranks;
  ResolveStrategy(parallel, heads);
  if (NeedsNodes(parallel)) ResolveNodes(parallel, hosts);
  return StrategyCandidates(parallel, heads);
}

std::vector<RingCase> CasesOf(const RunConfig& config,
                              const std::vector<ParallelOptions>& strategies,
                              const MemorySharing& sharing) {
  BenchOptions bench = ResolveBench(config.bench);
  if (bench.n.empty()) bench.n.assign(kLengths.begin(), kLengths.end());
  std::vector<RingCase> cases;
  for (const kernels::DType dtype : bench.dtype) {
    for (const int64_t head_dim : bench.head_dim) {
      for (const BenchMask mask : bench.mask) {
        for (const int64_t n : bench.n) {
          for (const ParallelOptions& parallel : strategies) {
            cases.push_back(
                {CaseOf(bench, n, head_dim, dtype, mask), parallel, NarrowTo(parallel, sharing)});
          }
        }
      }
    }
  }
  return cases;
}

// Two rows without what is measured.
std::array<RingRow, 2> ForecastRows(const RingCase& ring, const kernels::KernelTable& table,
                                    int ranks, const MachineModel* machine) {
  const RingForecast many = ForecastRing(ring, table, ranks, machine);
  std::array<RingRow, 2> rows;
  for (const bool backward : {false, true}) {
    const PassForecast& pass = backward ? many.backward : many.forward;
    RingRow& row = rows[backward ? 1 : 0];
    row.ring = ring;
    row.ranks = ranks;
    row.backward = backward;
    row.predicted_bytes_sent = pass.bytes_sent;
    if (machine == nullptr) continue;
    const RingForecast one =
        ForecastRing({ring.attention, OnOneRank(ring.parallel), {}}, table, 1, machine);
    const double alone_s = (backward ? one.backward : one.forward).times.total_s();
    row.predicted_ms = 1e3 * pass.times.total_s();
    row.predicted_exposed_comm_ms = 1e3 * pass.times.exposed_s;
    row.predicted_efficiency = alone_s / ranks / pass.times.total_s();
  }
  return rows;
}

// A pass of one round, on all ranks: the slowest of them.
struct Sample {
  double roof_s = 0;
  double ms = 0;
  double exposed_ms = 0;
  double baseline_ms = 0;
  int64_t bytes_sent = 0;
};

class RingBench {
 public:
  RingBench(const RunConfig& config, const BenchRank& own, const MachineModel* machine)
      : bench_(ResolveBench(config.bench, config.device.kind)),
        own_(own),
        group_(own.group()),
        table_(own.table()),
        clock_(group_.size() == 1 ? ClockOf(own.threads()) : Clock::kWall),
        machine_(machine) {}

  // Both passes of a case.
  std::array<RingRow, 2> Measure(RingCase ring) {
    RingForecast own = ForecastRank(ring, table_, group_.rank(), group_.size(), nullptr);
    ring.sharing = WithRoom(ring.parallel, ring.sharing, own.memory.node_bytes, group_);
    own = ForecastRank(ring, table_, group_.rank(), group_.size(), nullptr);
    std::array<RingRow, 2> rows = ForecastRows(ring, table_, group_.size(), machine_);
    group_.ShareMemory(ring.sharing.nodes);
    Roof roof(table_, ring.attention.dtype, bench_.roof_size);
    Arena arena(own.memory, table_.ReserveTensorMemory(own.memory.bytes), group_);
    kernels::Kernels kernels(table_, arena);
    RingWorkload workload(ring, {kernels, arena}, group_);
    workload.Fill();
    OpenBaseline(ring);
    std::array<std::vector<Sample>, 2> samples;
    for (int64_t r = -1; r < bench_.repetitions; ++r) {
      const std::array<Sample, 2> round = Round(roof, workload, arena);
      if (r < 0) continue;
      for (size_t pass : {0, 1}) samples[pass].push_back(round[pass]);
    }
    for (size_t pass : {0, 1}) {
      Fill(samples[pass], rows[pass]);
      const int64_t flops = pass == 0 ? workload.forward_flops() : workload.backward_flops();
      FillSpeed(samples[pass], static_cast<double>(flops), roof.flops(), rows[pass]);
    }
    baseline_.reset();
    return rows;
  }

 private:
  // On rank 0: the whole attention by one process, where it fits.
  void OpenBaseline(const RingCase& ring) {
    baseline_kind_ = own_.launch().FitsOneProcess(group_.size()) ? RingBaseline::kOneProcess
                                                                 : RingBaseline::kOneRank;
    if (!own_.on_cores()) baseline_kind_ = RingBaseline::kOneDevice;
    std::array<double, 1> fits{0};
    group_.Barrier();  // what is free is known once all have reserved what they need
    if (group_.rank() == 0) {
      kernels::KernelTable& table = BaselineTable();
      const MakeWorkload make = [&](const WorkloadContext& context) {
        return NewAttention(AttentionMethod::kFused, ring.attention, context);
      };
      if (MemoryProblem(bench_, FootprintOf(make, table), table).empty()) {
        baseline_ = std::make_unique<Contestant>(make, table);
        fits[0] = 1;
      }
    }
    group_.AllReduceMax(fits);
    if (fits[0] == 0) baseline_kind_ = RingBaseline::kNone;
  }

  // The rank's own, but where one process has the threads of several ranks.
  kernels::KernelTable& BaselineTable() {
    if (baseline_kind_ != RingBaseline::kOneProcess || group_.size() == 1) return table_;
    if (!all_threads_) {
      all_threads_ = std::make_unique<kernels::CpuTable>(own_.threads() * group_.size());
    }
    return *all_threads_;
  }

  // Over how many the baseline's time is spread when it is compared with that of all ranks.
  int Shares() const {
    if (baseline_kind_ == RingBaseline::kOneDevice) return own_.devices();
    return baseline_kind_ == RingBaseline::kOneRank ? group_.size() : 1;
  }

  // The roof, the baseline, then the ring, so that all see the same moment of the machine.
  std::array<Sample, 2> Round(Roof& roof, RingWorkload& workload, Arena& arena) {
    std::array<Sample, 2> round;
    round[0].roof_s = round[1].roof_s = SecondsTogether(roof, clock_, group_);
    if (baseline_) {
      const Contestant::PassTimes times = baseline_->Run(clock_);
      round[0].baseline_ms = 1e3 * times.forward_s / Shares();
      round[1].baseline_ms = 1e3 * times.backward_s / Shares();
    }
    kernels::MemoryScope scope(arena);
    Time([&] { workload.Forward(); }, round[0]);
    workload.PrepareBackward();
    Time([&] { workload.Backward(); }, round[1]);
    return round;
  }

  template <class Work>
  void Time(const Work& work, Sample& sample) {
    table_.Wait();
    group_.Barrier();
    const parallel::CommCounters before = group_.all_counters();
    const double seconds = SecondsOf(clock_, [&] {
      work();
      table_.Wait();
    });
    const parallel::CommCounters after = group_.all_counters();
    std::array<double, 2> slowest{1e3 * seconds, after.wait_ms - before.wait_ms};
    std::array<double, 1> sent{static_cast<double>(after.bytes_sent - before.bytes_sent)};
    group_.AllReduceMax(slowest);
    group_.AllReduceSum(sent);
    sample.bytes_sent = static_cast<int64_t>(sent[0]);
    sample.ms = slowest[0];
    sample.exposed_ms = slowest[1];
  }

  void Fill(const std::vector<Sample>& samples, RingRow& row) {
    std::vector<double> ms, baseline_ms, exposed_ms, efficiency, over_kernel;
    for (const Sample& sample : samples) {
      Check(sample.bytes_sent == row.predicted_bytes_sent, "{} bytes were sent and {} predicted",
            sample.bytes_sent, row.predicted_bytes_sent);
      ms.push_back(sample.ms);
      exposed_ms.push_back(sample.exposed_ms);
      baseline_ms.push_back(sample.baseline_ms);
      efficiency.push_back(sample.baseline_ms / sample.ms);
      over_kernel.push_back(sample.ms / sample.baseline_ms);
    }
    row.threads_per_rank = own_.threads();
    row.devices = own_.DevicesOf(group_.size());
    row.clock = clock_;
    row.baseline = baseline_kind_;
    row.ms = SpreadOf(ms);
    row.exposed_comm_ms = Median(exposed_ms);
    row.bytes_sent = samples.front().bytes_sent;
    if (baseline_kind_ == RingBaseline::kNone) return;
    row.baseline_ms = Median(baseline_ms);
    row.efficiency = SpreadOf(efficiency);
    if (group_.size() == 1) row.over_kernel = SpreadOf(over_kernel);
  }

  void FillSpeed(const std::vector<Sample>& samples, double flops, double roof_flops,
                 RingRow& row) const {
    std::vector<runtime::Round> rounds;
    for (const Sample& sample : samples) {
      rounds.push_back({.roof_s = sample.roof_s, .forward_s = 1e-3 * sample.ms});
    }
    row.speed = Summarise(
        rounds, [](const runtime::Round& round) { return round.forward_s; }, flops,
        group_.size() * roof_flops);
  }

  BenchOptions bench_;
  const BenchRank& own_;
  parallel::Communicator& group_;
  kernels::KernelTable& table_;
  Clock clock_;  // ranks wait for each other
  const MachineModel* machine_;
  RingBaseline baseline_kind_ = RingBaseline::kNone;
  std::unique_ptr<kernels::CpuTable> all_threads_;  // of rank 0
  std::unique_ptr<Contestant> baseline_;            // of rank 0
};

// What efficiency is against, where that is not the whole machine.
std::string BaselineNote(const BenchRank& own, int ranks) {
  const BenchLaunch& launch = own.launch();
  if (own.shares_devices()) {
    return fmt::format(
        "{}: efficiency is against one rank alone on its device, its time / {}; ranks that share a "
        "device take turns on it",
        own.SharingText(), own.devices());
  }
  if (!own.on_cores() || launch.FitsOneProcess(ranks)) return "";
  return fmt::format(
      "rank 0 may use {} core{}, too few to run the {} threads of all ranks in one process: "
      "efficiency is against one rank's time / {} (mpirun --bind-to none frees the cores of a "
      "node)",
      launch.usable_cores, launch.usable_cores == 1 ? "" : "s", ranks * launch.threads, ranks);
}

}  // namespace

RingReport RunRingBench(const RunConfig& given, parallel::Communicator& world,
                        const Progress& progress) {
  CheckSameConfiguration(world, given);
  RunConfig config = given;
  TryTogether(world, [&] { ResolveDevice(config); });
  const BenchRank own(config, world);
  std::optional<MachineModel> machine;
  std::vector<ParallelOptions> strategies;
  TryTogether(world, [&] {
    if (!config.machine.empty()) machine = ReadMachineFile(config.machine);
    if (machine) machine->CheckLinks(world.size());
    strategies = StrategiesOf(config, world.size(), own.launch().hosts);
  });
  const std::vector<RingCase> cases =
      CasesOf(config, strategies, FindSharing(strategies.front(), own.group().FindMemoryNodes()));
  RingReport report{.rows = {},
                    .rounds = config.bench.repetitions,
                    .machine = machine ? NameOf(*machine, config.machine) : "",
                    .notes = own.Notes()};
  if (machine) AddMachineNotes(*machine, world.size(), own.threads(), report.notes);
  const std::string note = BaselineNote(own, world.size());
  if (!note.empty()) report.notes.push_back(note);
  RingBench bench(config, own, machine ? &*machine : nullptr);
  for (const RingCase& ring : cases) {
    if (world.rank() == 0)
      progress(Describe(ring.attention, own.threads()) + ", " + ShortName(ring.parallel));
    for (const RingRow& row : bench.Measure(ring)) report.rows.push_back(row);
  }
  return report;
}

RingReport ForecastRingBench(const RunConfig& given) {
  RunConfig config = given;
  ResolveDevice(config);
  const MachineModel machine = RequiredMachine(config);
  const int ranks = std::max(config.ranks, 1);
  RingReport report{
      .rows = {}, .rounds = 0, .machine = NameOf(machine, config.machine), .notes = {}};
  const std::unique_ptr<kernels::KernelTable> table = ModelDeviceTable(config.device);
  // Without a launch all ranks share a node, unless parallel.node_size says otherwise.
  const std::vector<std::string> hosts(static_cast<size_t>(ranks), HostName());
  const std::vector<ParallelOptions> strategies = StrategiesOf(config, ranks, hosts);
  const MemorySharing sharing = PlanSharing(strategies.front(), ranks, &machine);
  for (const RingCase& ring : CasesOf(config, strategies, sharing)) {
    for (RingRow& row : ForecastRows(ring, *table, ranks, &machine)) {
      row.threads_per_rank = machine.threads_per_rank;
      report.rows.push_back(row);
    }
  }
  return report;
}

}  // namespace annulus::runtime
