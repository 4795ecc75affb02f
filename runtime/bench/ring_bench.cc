#include "runtime/bench/ring_bench.h"

#include <algorithm>
#include <array>

#include "kernels/base/error.h"
#include "kernels/cpu/cpu_table.h"
#include "runtime/bench/bench_launch.h"
#include "runtime/bench/machine_note.h"
#include "runtime/config/strategy.h"
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
  double ms = 0;
  double exposed_ms = 0;
  double baseline_ms = 0;
  int64_t bytes_sent = 0;
};

class RingBench {
 public:
  RingBench(const RunConfig& config, parallel::Communicator& world, const BenchLaunch& launch,
            const MachineModel* machine)
      : config_(config),
        bench_(ResolveBench(config.bench)),
        world_(world),
        launch_(launch),
        machine_(machine),
        table_(launch.threads) {}

  // Both passes of a case.
  std::array<RingRow, 2> Measure(RingCase ring) {
    RingForecast own = ForecastRank(ring, table_, world_.rank(), world_.size(), nullptr);
    ring.sharing = WithRoom(ring.parallel, ring.sharing, own.memory.node_bytes, world_);
    own = ForecastRank(ring, table_, world_.rank(), world_.size(), nullptr);
    std::array<RingRow, 2> rows = ForecastRows(ring, table_, world_.size(), machine_);
    world_.ShareMemory(ring.sharing.nodes);
    Arena arena(own.memory, world_);
    kernels::Kernels kernels(table_, arena);
    RingWorkload workload(ring, {kernels, arena}, world_);
    workload.Fill();
    OpenBaseline(ring);
    std::array<std::vector<Sample>, 2> samples;
    for (int64_t r = -1; r < bench_.repetitions; ++r) {
      const std::array<Sample, 2> round = Round(workload, arena);
      if (r < 0) continue;
      for (size_t pass : {0, 1}) samples[pass].push_back(round[pass]);
    }
    for (size_t pass : {0, 1}) Fill(samples[pass], rows[pass]);
    baseline_.reset();
    return rows;
  }

 private:
  // On rank 0: the whole attention in one process, where it fits.
  void OpenBaseline(const RingCase& ring) {
    const bool fits_cores = launch_.FitsOneProcess(world_.size());
    baseline_kind_ = fits_cores ? RingBaseline::kOneProcess : RingBaseline::kOneRank;
    std::array<double, 1> fits{0};
    if (world_.rank() == 0) {
      const int threads = fits_cores ? launch_.threads * world_.size() : launch_.threads;
      baseline_table_ = std::make_unique<kernels::CpuTable>(threads);
      const MakeWorkload make = [&](const WorkloadContext& context) {
        return NewAttention(AttentionMethod::kFused, ring.attention, context);
      };
      if (MemoryProblem(bench_, FootprintOf(make, *baseline_table_)).empty()) {
        baseline_ = std::make_unique<Contestant>(make, *baseline_table_);
        fits[0] = 1;
      }
    }
    world_.AllReduceMax(fits);
    if (fits[0] == 0) baseline_kind_ = RingBaseline::kNone;
  }

  // The baseline, then the ring, so that both see the same moment of the machine.
  std::array<Sample, 2> Round(RingWorkload& workload, Arena& arena) {
    std::array<Sample, 2> round;
    if (baseline_) {
      const Contestant::PassTimes times = baseline_->Run(Clock::kWall);
      const double share = baseline_kind_ == RingBaseline::kOneRank ? 1.0 / world_.size() : 1.0;
      round[0].baseline_ms = 1e3 * times.forward_s * share;
      round[1].baseline_ms = 1e3 * times.backward_s * share;
    }
    kernels::MemoryScope scope(arena);
    Time([&] { workload.Forward(); }, round[0]);
    workload.PrepareBackward();
    Time([&] { workload.Backward(); }, round[1]);
    return round;
  }

  template <class Work>
  void Time(const Work& work, Sample& sample) {
    world_.Barrier();
    const parallel::CommCounters before = world_.all_counters();
    const double seconds = SecondsOf(Clock::kWall, work);
    const parallel::CommCounters after = world_.all_counters();
    std::array<double, 2> slowest{1e3 * seconds, after.wait_ms - before.wait_ms};
    std::array<double, 1> sent{static_cast<double>(after.bytes_sent - before.bytes_sent)};
    world_.AllReduceMax(slowest);
    world_.AllReduceSum(sent);
    sample.bytes_sent = static_cast<int64_t>(sent[0]);
    sample.ms = slowest[0];
    sample.exposed_ms = slowest[1];
  }

  void Fill(const std::vector<Sample>& samples, RingRow& row) {
    std::vector<double> ms, baseline_ms, exposed_ms, efficiency;
    for (const Sample& sample : samples) {
      Check(sample.bytes_sent == row.predicted_bytes_sent, "{} bytes were sent and {} predicted",
            sample.bytes_sent, row.predicted_bytes_sent);
      ms.push_back(sample.ms);
      exposed_ms.push_back(sample.exposed_ms);
      baseline_ms.push_back(sample.baseline_ms);
      efficiency.push_back(sample.baseline_ms / sample.ms);
    }
    row.threads_per_rank = launch_.threads;
    row.baseline = baseline_kind_;
    row.ms = SpreadOf(ms);
    row.exposed_comm_ms = Median(exposed_ms);
    row.bytes_sent = samples.front().bytes_sent;
    if (baseline_kind_ == RingBaseline::kNone) return;
    row.baseline_ms = Median(baseline_ms);
    row.efficiency = SpreadOf(efficiency);
  }

  const RunConfig& config_;
  BenchOptions bench_;
  parallel::Communicator& world_;
  BenchLaunch launch_;
  const MachineModel* machine_;
  kernels::CpuTable table_;
  RingBaseline baseline_kind_ = RingBaseline::kNone;
  std::unique_ptr<kernels::CpuTable> baseline_table_;  // of rank 0
  std::unique_ptr<Contestant> baseline_;               // of rank 0
};

}  // namespace

RingReport RunRingBench(const RunConfig& config, parallel::Communicator& world,
                        const Progress& progress) {
  CheckSameConfiguration(world, config);
  const BenchLaunch launch = ReadBenchLaunch(world, config.device.threads);
  std::optional<MachineModel> machine;
  std::vector<ParallelOptions> strategies;
  TryTogether(world, [&] {
    if (!config.machine.empty()) machine = ReadMachineFile(config.machine);
    if (machine) machine->CheckLinks(world.size());
    strategies = StrategiesOf(config, world.size(), launch.hosts);
  });
  const std::vector<RingCase> cases =
      CasesOf(config, strategies, FindSharing(strategies.front(), world.FindMemoryNodes()));
  RingReport report{.rows = {},
                    .rounds = config.bench.repetitions,
                    .machine = machine ? NameOf(*machine, config.machine) : "",
                    .notes = launch.advice};
  if (machine) AddMachineNotes(*machine, world.size(), launch.threads, report.notes);
  if (!launch.FitsOneProcess(world.size())) {
    report.notes.push_back(fmt::format(
        "rank 0 may use {} core{}, too few to run the {} threads of all ranks in one process: "
        "efficiency is against one rank's time / {} (mpirun --bind-to none frees the cores of a "
        "node)",
        launch.usable_cores, launch.usable_cores == 1 ? "" : "s", world.size() * launch.threads,
        world.size()));
  }
  RingBench bench(config, world, launch, machine ? &*machine : nullptr);
  for (const RingCase& ring : cases) {
    if (world.rank() == 0)
      progress(Describe(ring.attention, launch.threads) + ", " + ShortName(ring.parallel));
    for (const RingRow& row : bench.Measure(ring)) report.rows.push_back(row);
  }
  return report;
}

RingReport ForecastRingBench(const RunConfig& config) {
  const MachineModel machine = RequiredMachine(config);
  const int ranks = std::max(config.ranks, 1);
  RingReport report{
      .rows = {}, .rounds = 0, .machine = NameOf(machine, config.machine), .notes = {}};
  const kernels::CpuTable table(std::max(config.device.threads, 1));
  // Without a launch all ranks share a node, unless parallel.node_size says otherwise.
  const std::vector<std::string> hosts(static_cast<size_t>(ranks), HostName());
  const std::vector<ParallelOptions> strategies = StrategiesOf(config, ranks, hosts);
  const MemorySharing sharing = PlanSharing(strategies.front(), ranks, &machine);
  for (const RingCase& ring : CasesOf(config, strategies, sharing)) {
    for (RingRow& row : ForecastRows(ring, table, ranks, &machine)) {
      row.threads_per_rank = machine.threads_per_rank;
      report.rows.push_back(row);
    }
  }
  return report;
}

}  // namespace annulus::runtime
