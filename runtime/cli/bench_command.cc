#include "runtime/cli/bench_command.h"

#include <cstdio>
#include <nlohmann/json.hpp>

#include "runtime/bench/attention_report.h"
#include "runtime/bench/calibration.h"
#include "runtime/bench/ring_report.h"
#include "runtime/bench/scaling_report.h"
#include "runtime/bench/wall_report.h"
#include "runtime/cli/machine_rows.h"
#include "runtime/config/validate.h"
#include "runtime/machine/machine_file.h"
#include "runtime/report/report_files.h"

namespace annulus::runtime {
namespace {

void ShowProgress(const std::string& what) { std::fprintf(stderr, "measuring %s\n", what.c_str()); }

// What every benchmark does before it measures.
BenchOptions Prepare(const RunConfig& given) {
  RunConfig config = given;
  ResolveDevice(config);
  BenchOptions bench = ResolveBench(config.bench, config.device.kind);
  if (config.device.kind != DeviceKind::kCpu) return bench;
  for (const std::string& advice : ThreadAdvice(bench)) {
    std::fprintf(stderr, "warning: %s\n", advice.c_str());
  }
  return bench;
}

// What every benchmark does once it is measured.
template <class Report>
int Publish(const RunConfig& config, std::string_view bench, const Report& report) {
  fmt::print("{}", ToText(report));
  nlohmann::ordered_json json{{"bench", bench}, {"machine", MachineJson()}};
  json.update(ToJson(report));
  WriteJsonReport(config, json);
  WriteSvgReport(config, ToSvg(report));
  return 0;
}

// A benchmark of all ranks, or what is predicted of it.
template <class Report>
int RunOverRanks(const RunConfig& config, Job& job, std::string_view name,
                 Report (*measure)(const RunConfig&, parallel::Communicator&, const Progress&),
                 Report (*forecast)(const RunConfig&)) {
  if (config.bench.dry) return job.speaks() ? Publish(config, name, forecast(config)) : 0;
  job.RunRanks(config, [&](parallel::Communicator& world) {
    const Report report = measure(config, world, ShowProgress);
    if (world.rank() == 0) Publish(config, name, report);
  });
  return 0;
}

}  // namespace

int RunBenchAttention(const RunConfig& config, Job& job) {
  if (!job.speaks()) return 0;
  return Publish(config, "attention",
                 RunAttentionBench(Prepare(config), ShowProgress, config.device));
}

int RunBenchWall(const RunConfig& config, Job& job) {
  if (!job.speaks()) return 0;
  return Publish(config, "wall", RunWallBench(Prepare(config), ShowProgress, config.device));
}

int RunBenchRing(const RunConfig& config, Job& job) {
  return RunOverRanks<RingReport>(config, job, "ring", RunRingBench, ForecastRingBench);
}

int RunBenchScaling(const RunConfig& config, Job& job) {
  return RunOverRanks<ScalingReport>(config, job, "scaling", RunScalingBench, ForecastScalingBench);
}

int RunBenchCalibrate(const RunConfig& config, Job& job) {
  job.RunRanks(config, [&](parallel::Communicator& world) {
    const CalibrationReport report = Calibrate(config, world, ShowProgress);
    if (world.rank() != 0) return;
    const std::string text = MachineText(report.machine);
    if (config.machine.empty()) {
      fmt::print("{}", text);
    } else {
      WriteMachineFile(config, text);
      fmt::print("{}", ToText(report));
    }
  });
  return 0;
}

}  // namespace annulus::runtime
