#include "runtime/bench/wall_bench.h"

#include <algorithm>
#include <memory>

#include "kernels/base/error.h"
#include "kernels/cpu/cpu_table.h"
#include "runtime/bench/mlp_workload.h"
#include "runtime/io/format.h"

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
  WallBench(const BenchOptions& bench, const Progress& progress)
      : bench_(bench),
        progress_(progress),
        threads_(OnlyOne(bench.threads, "threads")),
        table_(threads_),
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
    double expected = 0;  // of the next n
    for (int64_t n = report_.shape.n; report_.stopped.empty(); n *= 2) {
      const double before = Now(Clock::kWall);
      if (before - start + expected > bench_.time_s) {
        report_.stopped = fmt::format("n = {} would take about {} more, past bench.time_s = {} s",
                                      FormatCount(n), FormatDuration(expected), bench_.time_s);
        break;
      }
      report_.shape = ShapeAt(n);
      if (!Measure()) {
        report_.stopped = fmt::format("nothing but the MLP fits at n = {}", FormatCount(n));
      } else if (n > last_ / 2) {
        report_.stopped = fmt::format("bench.n ends at {}", FormatCount(last_));
      }
      expected = 4 * (Now(Clock::kWall) - before);  // the square of twice the length
    }
    return std::move(report_);
  }

 private:
  AttentionCase ShapeAt(int64_t n) const {
    return CaseOf(bench_, n, OnlyOne(bench_.head_dim, "head_dim"), OnlyOne(bench_.dtype, "dtype"),
                  OnlyOne(bench_.mask, "mask"));
  }

  MakeWorkload Make(WallPart part) const {
    const AttentionCase shape = report_.shape;
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
    const auto& methods = bench_.implementation;
    const auto has = [&](AttentionMethod method) {
      return std::find(methods.begin(), methods.end(), method) != methods.end();
    };
    if (part == WallPart::kNaive) return has(AttentionMethod::kNaive);
    return part == WallPart::kMlp || has(AttentionMethod::kFused);
  }

  // All parts at one n by turns. Returns whether some attention was among them.
  bool Measure() {
    progress_(Describe(report_.shape, threads_));
    std::vector<WallPart> parts;
    std::vector<std::unique_ptr<Contestant>> contestants;
    std::vector<Contestant*> pointers;
    for (const WallPart part : kWallParts) {
      if (!Wanted(part)) continue;
      const MakeWorkload make = Make(part);
      const std::string problem = MemoryProblem(bench_, FootprintOf(make, table_));
      if (!problem.empty()) {
        report_.skipped.push_back(
            fmt::format("{} at n = {} {}", NameOf(part), FormatCount(report_.shape.n), problem));
        continue;
      }
      parts.push_back(part);
      contestants.push_back(std::make_unique<Contestant>(make, table_));
      pointers.push_back(contestants.back().get());
    }
    const auto rounds = RunRounds(pointers, roof_, ClockOf(threads_), bench_.repetitions);
    for (size_t i = 0; i < parts.size(); ++i) AddRow(parts[i], *contestants[i], rounds[i]);
    return !parts.empty() && parts.front() != WallPart::kMlp;
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
  kernels::CpuTable table_;
  Roof roof_;
  int64_t last_ = 0;
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

std::optional<double> WallReport::Crossover(WallPart part) const {
  const std::vector<Point> times = Times(part);
  std::vector<Point> mlp = Times(WallPart::kMlp);
  mlp.resize(std::min(mlp.size(), times.size()));  // the part may have ended before
  if (mlp.size() < times.size()) return std::nullopt;
  return runtime::Crossover(times, mlp);
}

WallReport RunWallBench(const BenchOptions& bench, const Progress& progress) {
  return WallBench(bench, progress).Run();
}

}  // namespace annulus::runtime
