#include "runtime/cli/bench_command.h"

#include <cstdio>
#include <nlohmann/json.hpp>

#include "runtime/bench/attention_report.h"
#include "runtime/bench/wall_report.h"
#include "runtime/cli/machine_rows.h"
#include "runtime/cli/report_files.h"

namespace annulus::runtime {
namespace {

void ShowProgress(const std::string& what) { std::fprintf(stderr, "measuring %s\n", what.c_str()); }

// What every benchmark does before it measures.
BenchOptions Prepare(const RunConfig& config) {
  BenchOptions bench = ResolveBench(config.bench);
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

}  // namespace

int RunBenchAttention(const RunConfig& config, Job& job) {
  if (!job.speaks()) return 0;
  return Publish(config, "attention", RunAttentionBench(Prepare(config), ShowProgress));
}

int RunBenchWall(const RunConfig& config, Job& job) {
  if (!job.speaks()) return 0;
  return Publish(config, "wall", RunWallBench(Prepare(config), ShowProgress));
}

}  // namespace annulus::runtime
