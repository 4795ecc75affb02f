#include "runtime/bench/wall_bench.h"

#include <algorithm>
#include <map>
#include <memory>
#include <set>

#include "kernels/base/error.h"
#include "runtime/bench/mlp_workload.h"
#include "runtime/io/format.h"
#include "runtime/machine/device_table.h"

namespace annulus::runtime {
namespace {

constexpr int64_t kFirst = 1024;
constexpr int64_t kLast = 65536;

double ForwardSeconds(const Round& round) { return round.forward_s; }
double BackwardSeconds(const Round& round) { return round.backward_s; }
double BothSeconds(const Round& round) { return round.forward_s + round.backward_s; }

template <class T>
T OnlyOne(const std::vector<T>& values, std::string_view option) {
  if (values.size() == 1) return values.front();
  ThrowConfigError("bench wall takes one value of bench.{}, not {}", option, values.size());
}

class WallBench {
 public:
  WallBench(const BenchOptions& bench, const Progress& progress, const DeviceOptions& device)
      : bench_(bench),
        progress_(progress),
        threads_(OnlyOne(bench.threads, "threads")),
        owned_table_(MakeDeviceTable(device, {.threads = threads_})),
        table_(*owned_table_),
        roof_(table_, OnlyOne(bench.dtype, "dtype"), bench.roof_size) {
    const auto ends = std::minmax_element(bench.n.begin(), bench.n.end());
    report_.shape = ShapeAt(bench.n.empty() ? kFirst : *ends.first);
    last_ = bench.n.empty() ? kLast : *ends.second;
    report_.threads = threads_;
    report_.hidden_size = bench.heads * report_.shape.head_dim;
    report_.intermediate_size = bench.intermediate_size;
    report_.rounds = bench.repetitions;
  }

  WallReport Run() {
    const double start = Now(Clock::kWall);
    for (int64_t n = report_.shape.n; report_.stopped.empty(); n *= 2) {
      const AttentionCase shape = ShapeAt(n);
      const std::vector<WallPart> parts =
          Choose(shape, bench_.time_s - (Now(Clock::kWall) - start));
      if (parts.empty()) {
        report_.stopped = fmt::format("no attention is left at n = {}", FormatCount(n));
        break;
      }
      report_.shape = shape;
      Measure(parts);
      if (n > last_ / 2) report_.stopped = fmt::format("bench.n ends at {}", FormatCount(last_));
    }
    return std::move(report_);
  }

 private:
  AttentionCase ShapeAt(int64_t n) const {
    return CaseOf(bench_, n, OnlyOne(bench_.head_dim, "head_dim"), OnlyOne(bench_.dtype, "dtype"),
                  OnlyOne(bench_.mask, "mask"));
  }

  MakeWorkload Make(WallPart part, const AttentionCase& shape) const {
    if (part == WallPart::kMlp) {
      const MlpCase mlp{.rows = shape.batch * shape.n,
                        .hidden_size = report_.hidden_size,
                        .intermediate_size = report_.intermediate_size,
                        .dtype = shape.dtype};
      return [mlp](const WorkloadContext& context) { return NewMlp(mlp, context); };
    }
    const auto method =
        part == WallPart::kNaive ? AttentionMethod::kNaive : AttentionMethod::kFused;
    return [=](const WorkloadContext& context) { return NewAttention(method, shape, context); };
  }

  // Whether bench.implementation asks for it.
  bool Wanted(WallPart part) const {
    if (part == WallPart::kMlp) return true;
    const auto method =
        part == WallPart::kNaive ? AttentionMethod::kNaive : AttentionMethod::kFused;
    const auto& methods = bench_.implementation;
    return std::find(methods.begin(), methods.end(), method) != methods.end();
  }

  // Seconds that all rounds of `part` will take at twice the last n.
  double ExpectedSeconds(WallPart part) const {
    const auto last = seconds_.find(part);
    if (last == seconds_.end()) return 0;
    return last->second * (part == WallPart::kMlp ? 2 : 4);
  }

  // The parts to measure: what fits the memory and, the slowest left out first, the time that is
  // left. Tells of those left out. Nothing where no attention is among them.
  std::vector<WallPart> Choose(const AttentionCase& shape, double seconds_left) {
    double expected = ExpectedSeconds(WallPart::kMlp) + ExpectedSeconds(WallPart::kFused);
    std::vector<WallPart> parts;
    for (const WallPart part : {WallPart::kMlp, WallPart::kFused, WallPart::kNaive}) {
      if (!Wanted(part) || left_out_.contains(part)) continue;
      if (part == WallPart::kNaive) expected += ExpectedSeconds(part);
      std::string problem = MemoryProblem(bench_, FootprintOf(Make(part, shape), table_), table_);
      if (problem.empty() && expected > seconds_left) {
        problem = fmt::format("would end after bench.time_s = {} s", bench_.time_s);
      }
      if (problem.empty()) {
        parts.push_back(part);
        continue;
      }
      left_out_.insert(part);
      report_.skipped.push_back(
          fmt::format("{} from n = {} on: {}", NameOf(part), FormatCount(shape.n), problem));
    }
    if (parts.empty() || parts.back() == WallPart::kMlp) return {};
    return parts;
  }

  // All parts at one n by turns.
  void Measure(const std::vector<WallPart>& parts) {
    progress_(Describe(report_.shape, threads_));
    std::vector<std::unique_ptr<Contestant>> contestants;
    std::vector<Contestant*> pointers;
    for (const WallPart part : parts) {
      contestants.push_back(std::make_unique<Contestant>(Make(part, report_.shape), table_));
      pointers.push_back(contestants.back().get());
    }
    const auto rounds = RunRounds(pointers, roof_, ClockOf(threads_), bench_.repetitions);
    for (size_t i = 0; i < parts.size(); ++i) {
      AddRow(parts[i], *contestants[i], rounds[i]);
      double& seconds = seconds_[parts[i]] = 0;
      for (const Round& round : rounds[i]) seconds += round.roof_s + BothSeconds(round);
      seconds *= 1 + 1 / static_cast<double>(bench_.repetitions);  // the round that is not counted
    }
  }

  void AddRow(WallPart part, const Contestant& contestant, std::span<const Round> rounds) {
    const auto forward = static_cast<double>(contestant.workload().forward_flops());
    const auto backward = static_cast<double>(contestant.workload().backward_flops());
    const double roof = roof_.flops();
    report_.rows.push_back({.n = report_.shape.n,
                            .part = part,
                            .forward_ms = Summarise(rounds, ForwardSeconds, forward, roof).ms,
                            .backward_ms = Summarise(rounds, BackwardSeconds, backward, roof).ms,
                            .both = Summarise(rounds, BothSeconds, forward + backward, roof),
                            .activation_bytes = contestant.footprint().activation_bytes});
  }

  const BenchOptions& bench_;
  const Progress& progress_;
  int threads_;
  std::unique_ptr<kernels::KernelTable> owned_table_;
  kernels::KernelTable& table_;
  Roof roof_;
  int64_t last_ = 0;                    // n
  std::map<WallPart, double> seconds_;  // that all rounds took at the last n
  std::set<WallPart> left_out_;
  WallReport report_;
};

std::vector<Point> PointsOf(const WallReport& report, WallPart part,
                            double (*value)(const WallRow&)) {
  std::vector<Point> points;
  for (const WallRow& row : report.rows) {
    if (row.part == part) points.push_back({static_cast<double>(row.n), value(row)});
  }
  return points;
}

}  // namespace

std::string_view NameOf(WallPart part) {
  switch (part) {
    case WallPart::kNaive:
      return "naive";
    case WallPart::kFused:
      return "fused";
    case WallPart::kMlp:
      return "mlp";
  }
  return "?";
}

std::vector<Point> WallReport::Times(WallPart part) const {
  return PointsOf(*this, part, [](const WallRow& row) { return row.both.ms; });
}

std::vector<Point> WallReport::Memory(WallPart part) const {
  return PointsOf(*this, part,
                  [](const WallRow& row) { return static_cast<double>(row.activation_bytes); });
}

WallReport::Comparison WallReport::WithMlp(WallPart part) const {
  Comparison both{Times(part), Times(WallPart::kMlp)};
  // Both begin at the first n; either may have been left out from some n on.
  const size_t common = std::min(both.part.size(), both.mlp.size());
  both.part.resize(common);
  both.mlp.resize(common);
  return both;
}

std::optional<double> WallReport::Crossover(WallPart part) const {
  const Comparison both = WithMlp(part);
  return runtime::Crossover(both.part, both.mlp);
}

WallReport RunWallBench(const BenchOptions& bench, const Progress& progress,
                        const DeviceOptions& device) {
  return WallBench(bench, progress, device).Run();
}

}  // namespace annulus::runtime
