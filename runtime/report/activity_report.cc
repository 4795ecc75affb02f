#include "runtime/report/activity_report.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "runtime/io/format.h"

namespace annulus::runtime {
namespace {

using nlohmann::ordered_json;
using parallel::Pass;

std::string_view NameOf(Pass pass) { return pass == Pass::kForward ? "forward" : "backward"; }

std::vector<double> BusyOf(const std::vector<RankActivity>& ranks) {
  std::vector<double> busy;
  for (const RankActivity& rank : ranks) busy.push_back(rank.busy_ms);
  return busy;
}

std::string Milliseconds(double ms) { return fmt::format("{:.2f} ms", ms); }
std::string Bytes(double bytes) { return FormatBytes(static_cast<int64_t>(bytes)); }

std::string RankTable(const std::vector<RankActivity>& ranks) {
  TextTable table({{"rank", Align::kRight},
                   {"host", Align::kLeft},
                   {"busy", Align::kRight},
                   {"exposed", Align::kRight},
                   {"sent", Align::kRight}});
  for (const RankActivity& rank : ranks) {
    table.AddRow({std::to_string(rank.rank), rank.host, Milliseconds(rank.busy_ms),
                  Milliseconds(rank.exposed_ms), Bytes(rank.bytes_sent)});
  }
  return table.ToString();
}

// One step of the schedule over the ranks that report it.
struct StepOfAll {
  double compute_ms = 0;  // the mean
  double wait_ms = 0;     // the mean
  double bytes_sent = 0;  // the mean
  double longest_wait_ms = 0;
  int waits_longest = 0;
};

StepOfAll OverRanks(const std::vector<RankActivity>& ranks, size_t row) {
  StepOfAll all;
  double reporting = 0;
  for (const RankActivity& rank : ranks) {
    if (row >= rank.schedule.size()) continue;
    const ScheduleStepTimes& step = rank.schedule[row];
    reporting += 1;
    all.compute_ms += step.compute_ms;
    all.wait_ms += step.wait_ms;
    all.bytes_sent += step.bytes_sent;
    if (step.wait_ms > all.longest_wait_ms) {
      all.longest_wait_ms = step.wait_ms;
      all.waits_longest = rank.rank;
    }
  }
  for (double* sum : {&all.compute_ms, &all.wait_ms, &all.bytes_sent}) *sum /= reporting;
  return all;
}

std::string ScheduleTable(const std::vector<RankActivity>& ranks) {
  TextTable table({{"attention", Align::kLeft},
                   {"step", Align::kRight},
                   {"compute", Align::kRight},
                   {"wait", Align::kRight},
                   {"longest", Align::kRight},
                   {"of rank", Align::kRight},
                   {"sent", Align::kRight}});
  const std::vector<ScheduleStepTimes>& schedule = ranks.front().schedule;
  for (size_t row = 0; row < schedule.size(); ++row) {
    const StepOfAll all = OverRanks(ranks, row);
    table.AddRow({std::string(NameOf(schedule[row].pass)), std::to_string(schedule[row].step),
                  Milliseconds(all.compute_ms), Milliseconds(all.wait_ms),
                  Milliseconds(all.longest_wait_ms), std::to_string(all.waits_longest),
                  Bytes(all.bytes_sent)});
  }
  return table.ToString();
}

ordered_json ToJson(const ScheduleStepTimes& step) {
  return {{"pass", NameOf(step.pass)},
          {"step", step.step},
          {"compute_ms", step.compute_ms},
          {"wait_ms", step.wait_ms},
          {"bytes_sent", step.bytes_sent}};
}

}  // namespace

ordered_json ToJson(const RankActivity& activity) {
  ordered_json json = {{"rank", activity.rank},
                       {"host", activity.host},
                       {"busy_ms", activity.busy_ms},
                       {"comm_exposed_ms", activity.exposed_ms},
                       {"bytes_sent", activity.bytes_sent},
                       {"schedule", ordered_json::array()}};
  for (const ScheduleStepTimes& step : activity.schedule) json["schedule"].push_back(ToJson(step));
  return json;
}

RankActivity RankActivityFromJson(const ordered_json& json) {
  RankActivity activity{.rank = json.at("rank"),
                        .host = json.at("host"),
                        .busy_ms = json.at("busy_ms"),
                        .exposed_ms = json.at("comm_exposed_ms"),
                        .bytes_sent = json.at("bytes_sent"),
                        .schedule = {}};
  for (const ordered_json& step : json.at("schedule")) {
    activity.schedule.push_back(
        {.pass = step.at("pass") == "forward" ? Pass::kForward : Pass::kBackward,
         .step = step.at("step"),
         .compute_ms = step.at("compute_ms"),
         .wait_ms = step.at("wait_ms"),
         .bytes_sent = step.at("bytes_sent")});
  }
  return activity;
}

std::string ActivityTable(const std::vector<RankActivity>& ranks) {
  if (ranks.size() < 2) return "";
  std::string text = "time of a training step, means\n" + RankTable(ranks);
  const Straggler slowest = FindStraggler(BusyOf(ranks));
  if (slowest.factor >= kStragglerFactor) {
    text +=
        fmt::format("straggler: rank {} on {}, busy {:.2f} times as long as the median rank\n",
                    slowest.rank, ranks[static_cast<size_t>(slowest.rank)].host, slowest.factor);
  }
  return text + "\n" + ScheduleTable(ranks);
}

ordered_json ActivityJson(const std::vector<RankActivity>& ranks) {
  const Straggler slowest = FindStraggler(BusyOf(ranks));
  ordered_json json;
  json["slowest"] = {{"rank", slowest.rank},
                     {"host", ranks[static_cast<size_t>(slowest.rank)].host},
                     {"factor", slowest.factor}};
  json["ranks"] = ordered_json::array();
  for (const RankActivity& rank : ranks) json["ranks"].push_back(ToJson(rank));
  return json;
}

}  // namespace annulus::runtime
