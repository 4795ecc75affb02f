#include "runtime/bench/calibration.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "runtime/bench/bench_rank.h"
#include "runtime/bench/calibration_calls.h"
#include "runtime/bench/calibration_links.h"
#include "runtime/bench/statistics.h"
#include "runtime/config/validate.h"
#include "runtime/io/format.h"
#include "runtime/machine/machine.h"
#include "runtime/run/together.h"

namespace annulus::runtime {
namespace {

using kernels::ComputeRates;
using kernels::DType;
using kernels::RateClass;

constexpr double kLeastSeconds = 2e-3;  // of one measurement: calls are repeated so often

kernels::KernelCounters::Class WorkOf(const kernels::Kernels& kernels, RateClass work) {
  if (work == RateClass::kMatMul) return kernels.counters()[kernels::KernelClass::kMatMul];
  return kernels.counters()[IsAttention(work) ? kernels::KernelClass::kAttention
                                              : kernels::KernelClass::kElementwise];
}

// A call in memory of its own, ready to be timed.
class TimedCall {
 public:
  TimedCall(const CalibrationCall& call, kernels::KernelTable& table, Clock clock)
      : call_(call),
        clock_(clock),
        arena_(BytesOf(call, table), table.ReserveTensorMemory(BytesOf(call, table))),
        kernels_(table, arena_),
        run_(call.make({kernels_, arena_})) {
    const kernels::KernelCounters::Class before = WorkOf(kernels_, call.work);
    Repeat(1);
    const kernels::KernelCounters::Class after = WorkOf(kernels_, call.work);
    sample_ = {.calls = static_cast<double>(after.calls - before.calls),
               .flops = static_cast<double>(after.flops - before.flops),
               .bytes = static_cast<double>(after.bytes - before.bytes)};
    const double once_s = SecondsOf(clock_, [this] { Repeat(1); });
    repeats_ = std::max(1, static_cast<int>(kLeastSeconds / std::max(once_s, 1e-7)));
  }

  const CalibrationCall& call() const { return call_; }

  void Measure() {
    const double seconds = SecondsOf(clock_, [this] { Repeat(repeats_); });
    seconds_.push_back(seconds / repeats_);
  }

  RateSample sample() const {
    RateSample sample = sample_;
    sample.seconds = Median(seconds_);
    return sample;
  }

 private:
  // A device works one call off while the host issues the next, as in a training step.
  void Repeat(int times) {
    for (int i = 0; i < times; ++i) run_();
    kernels_.table().Wait();
  }

  static int64_t BytesOf(const CalibrationCall& call, const kernels::KernelTable& table) {
    return DryPeak(table, [&](const WorkloadContext& context) { call.make(context)(); });
  }

  CalibrationCall call_;
  Clock clock_;
  Arena arena_;
  kernels::Kernels kernels_;
  std::function<void()> run_;
  RateSample sample_;
  int repeats_ = 1;
  std::vector<double> seconds_;
};

// Of one core's second-level cache; 0 where it is not known.
int64_t PrivateCacheBytes() {
  for (const CacheFacts& cache : ReadMachine("/").caches) {
    if (cache.name == "l2") return cache.bytes;
  }
  return 0;
}

std::string SectionOf(const ComputeRates::Entry& entry) {
  return fmt::format("{} {}{}", NameOf(entry.work), kernels::NameOf(entry.dtype),
                     IsAttention(entry.work) ? fmt::format(" {}", entry.head_dim) : "");
}

class Calibration {
 public:
  Calibration(const RunConfig& config, const BenchRank& own)
      : rounds_(config.bench.repetitions),
        clock_(ClockOf(own.threads())),
        sizes_(SizesOf(config.bench.sizes, config.device.kind)),
        own_(own),
        world_(own.group()),
        table_(own.table()) {
    const std::string sharing = own.shares_devices() ? "; " + own.SharingText() : "";
    report_.rounds = rounds_;
    report_.machine.name = fmt::format("{}, {}", ReadMachine("/").cpu_model, table_.Name());
    report_.machine.source = fmt::format("annulus bench calibrate, {} rounds, over {}{}", rounds_,
                                         world_.Name(), sharing);
    report_.machine.ranks = world_.size();
    report_.machine.threads_per_rank = own.threads();
    report_.machine.network.ranks_per_node = own.launch().ranks_per_node;
    report_.notes = own.Notes();
    if (own.shares_devices()) {
      report_.notes.push_back(own.SharingText() + ": the rates are those of a rank's share");
    }
  }

  const CalibrationSizes& sizes() const { return sizes_; }

  // Tensors of all sizes exist at once, so that rounds go through all of them.
  void MeasureKernels(const std::vector<CalibrationCall>& kinds) {
    std::vector<std::unique_ptr<TimedCall>> calls;
    for (const CalibrationCall& call : kinds) {
      calls.push_back(std::make_unique<TimedCall>(call, table_, clock_));
    }
    for (int64_t round = 0; round < rounds_; ++round) {
      for (const auto& call : calls) {
        world_.Barrier();
        call->Measure();
      }
    }
    std::vector<RateSample> samples;
    for (const auto& call : calls) samples.push_back(call->sample());
    AverageOverRanks(samples);
    for (size_t first = 0; first < calls.size(); ++first) {
      const CalibrationCall& call = calls[first]->call();
      ComputeRates::Entry entry{.work = call.work, .dtype = call.dtype, .head_dim = call.head_dim};
      if (Has(entry)) continue;
      std::vector<RateSample> of_class;
      for (size_t i = first; i < calls.size(); ++i) {
        const CalibrationCall& other = calls[i]->call();
        if (other.work == call.work && other.head_dim == call.head_dim) {
          of_class.push_back(samples[i]);
        }
      }
      const bool streams = entry.work == RateClass::kElementwise;
      entry.rate = FitRate(of_class, streams && own_.on_cores() ? PrivateCacheBytes() : 0);
      report_.machine.compute.Add(entry);
      report_.rates.push_back({.section = SectionOf(entry),
                               .samples = static_cast<int64_t>(of_class.size()),
                               .error = ErrorOf(entry.rate, of_class)});
    }
  }

  void MeasureLinks() {
    const BenchLaunch& launch = own_.launch();
    const int nodes = world_.size() / launch.ranks_per_node;
    if (launch.ranks_per_node > 1) {
      report_.machine.has_within_node = true;
      report_.machine.network.within_node = MeasureLink("within_node", WithinNode(launch));
    }
    if (nodes > 1) {
      report_.machine.has_between_nodes = true;
      report_.machine.network.between_nodes = MeasureLink("between_nodes", BetweenNodes(launch));
    }
    if (world_.size() == 1) return;
    std::array<double, 1> reduce{MeasureReduction(links(), report_.machine.network) /
                                 world_.size()};
    world_.AllReduceSum(reduce);
    report_.machine.network.reduce_s_per_byte = reduce[0];
  }

  CalibrationReport TakeReport() { return std::move(report_); }

 private:
  bool Has(const ComputeRates::Entry& entry) const {
    const auto& entries = report_.machine.compute.entries();
    return std::any_of(entries.begin(), entries.end(), [&](const ComputeRates::Entry& other) {
      return SectionOf(other) == SectionOf(entry);
    });
  }

  void AverageOverRanks(std::vector<RateSample>& samples) {
    std::vector<double> seconds;
    for (const RateSample& sample : samples) seconds.push_back(sample.seconds / world_.size());
    world_.AllReduceSum(seconds);
    for (size_t i = 0; i < samples.size(); ++i) samples[i].seconds = seconds[i];
  }

  // Ranks of a node are taken to follow one another.
  Neighbours WithinNode(const BenchLaunch& launch) const {
    const int first = world_.rank() / launch.ranks_per_node * launch.ranks_per_node;
    const int here = world_.rank() - first, many = launch.ranks_per_node;
    return {first + (here + 1) % many, first + (here + many - 1) % many};
  }
  Neighbours BetweenNodes(const BenchLaunch& launch) const {
    const int many = world_.size();
    return {(world_.rank() + launch.ranks_per_node) % many,
            (world_.rank() + many - launch.ranks_per_node) % many};
  }

  LinkSetup links() const { return {table_, world_, sizes_.links, rounds_}; }

  parallel::LinkRate MeasureLink(const std::string& section, const Neighbours& neighbours) {
    LinkSamples measured = MeasureMessages(links(), neighbours);
    AverageOverRanks(measured.messages);
    const kernels::KernelRate rate = FitRate(measured.messages);
    parallel::LinkRate link{.latency_s = rate.overhead_s, .s_per_byte = rate.s_per_byte};
    std::array<double, 1> share{MeasureHostShare(links(), neighbours, link) / world_.size()};
    world_.AllReduceSum(share);
    link.host_share = share[0];
    report_.rates.push_back({.section = section,
                             .samples = static_cast<int64_t>(measured.messages.size()),
                             .error = ErrorOf(rate, measured.messages)});
    return link;
  }

  int64_t rounds_;
  Clock clock_;  // of kernels: what other programs take of a core does not count, if it can be told
  const CalibrationSizes& sizes_;
  const BenchRank& own_;
  parallel::Communicator& world_;
  kernels::KernelTable& table_;
  CalibrationReport report_;
};

}  // namespace

CalibrationReport Calibrate(const RunConfig& given, parallel::Communicator& world,
                            const Progress& progress) {
  CheckSameConfiguration(world, given);
  RunConfig config = given;
  TryTogether(world, [&] { ResolveDevice(config); });
  const BenchRank own(config, world);
  Calibration calibration(config, own);
  const auto& dtypes = config.bench.dtype;
  for (const DType dtype : {DType::kF32, DType::kBF16}) {
    const bool asked = std::find(dtypes.begin(), dtypes.end(), dtype) != dtypes.end();
    std::vector<CalibrationCall> calls;
    if (asked) calls = CalibrationCalls(calibration.sizes(), dtype, config.bench.head_dim);
    if (dtype == DType::kF32) {
      for (CalibrationCall& call : F32Calls(calibration.sizes())) calls.push_back(std::move(call));
    }
    if (calls.empty()) continue;
    if (world.rank() == 0) progress(fmt::format("kernels in {}", kernels::NameOf(dtype)));
    calibration.MeasureKernels(calls);
  }
  if (world.size() > 1 && world.rank() == 0) progress("messages");
  calibration.MeasureLinks();
  return calibration.TakeReport();
}

std::string ToText(const CalibrationReport& report) {
  TextTable table({{"section"},
                   {"samples", Align::kRight},
                   {"rms error", Align::kRight},
                   {"greatest", Align::kRight}});
  for (const CalibratedRate& rate : report.rates) {
    table.AddRow({rate.section, std::to_string(rate.samples),
                  fmt::format("{:.1f}%", 100 * rate.error.rms),
                  fmt::format("{:.1f}%", 100 * rate.error.greatest)});
  }
  std::string text =
      table.ToString() +
      fmt::format("\n{}: {}, medians of {} rounds; errors of the fit over its samples\n",
                  report.machine.name,
                  RanksText(report.machine.ranks, report.machine.threads_per_rank), report.rounds);
  for (const std::string& note : report.notes) text += "note: " + note + "\n";
  return text;
}

}  // namespace annulus::runtime
