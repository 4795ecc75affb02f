#include "runtime/cli/plan_command.h"

#include <nlohmann/json.hpp>

#include "runtime/report/report_files.h"
#include "runtime/run/plan_run.h"

namespace annulus::runtime {

int RunPlan(const RunConfig& config, Job& job) {
  if (!job.speaks()) return 0;
  const FullPlan plan = MakePlan(config);
  fmt::print("{}", PlanText(plan));
  WriteJsonReport(config, ToJson(plan));
  return 0;
}

}  // namespace annulus::runtime
