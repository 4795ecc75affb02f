#include "runtime/cli/check_command.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "runtime/report/report_files.h"
#include "runtime/run/check_run.h"

namespace annulus::runtime {
namespace {

constexpr int kDifferent = 1;

}  // namespace

int RunCheck(const RunConfig& config, Job& job) {
  int status = 0;
  job.RunRanks(config, [&](parallel::Communicator& world) {
    const std::vector<ParityReport> reports = CheckOnRank(config, world);
    if (world.rank() != 0) return;
    fmt::print("{}", ParityTable(reports));
    WriteJsonReport(config, ToJson(reports));
    const bool passed = std::all_of(reports.begin(), reports.end(),
                                    [](const ParityReport& r) { return r.Passed(); });
    if (!passed) status = kDifferent;
  });
  return status;
}

}  // namespace annulus::runtime
