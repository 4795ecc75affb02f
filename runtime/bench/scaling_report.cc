#include "runtime/bench/scaling_report.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "runtime/bench/bench_threads.h"
#include "runtime/bench/chart.h"
#include "runtime/bench/report_cells.h"
#include "runtime/io/format.h"

namespace annulus::runtime {
namespace {

using Json = nlohmann::ordered_json;

std::string_view NameOf(ScalingMode mode) {
  return mode == ScalingMode::kStrong ? "strong" : "weak";
}

std::vector<std::string> Cells(const ScalingRow& row) {
  return {std::string(NameOf(row.mode)),
          std::to_string(row.ranks),
          row.strategy,
          FormatCount(row.n),
          TimeCell(MedianOf(row.ms)),
          row.ms ? fmt::format("{}-{}", FormatDuration(row.ms->least / 1e3),
                               FormatDuration(row.ms->most / 1e3))
                 : "-",
          PercentCell(MedianOf(row.efficiency)),
          RatioCell(row.speed),
          row.ms ? FormatDuration(row.exposed_comm_ms / 1e3) : "-",
          FormatBytes(row.predicted_bytes_sent),
          TimeCell(row.predicted_ms),
          PercentCell(row.predicted_efficiency),
          TimeCell(row.predicted_exposed_comm_ms)};
}

Json RowJson(const ScalingReport& report, const ScalingRow& row) {
  Json json{{"mode", NameOf(row.mode)},
            {"ranks", row.ranks},
            {"threads_per_rank", ThreadsJson(report.threads_per_rank)},
            {"devices", OrNull(row.devices)},
            {"strategy", row.strategy},
            {"partition", report.partition},
            {"n", row.n},
            {"flops", row.flops}};
  AddSpread("ms", row.ms, json);
  AddSpread("efficiency", row.efficiency, json);
  AddRates(row.speed, Roof::Caveat(report.dtype, report.threads_per_rank), json);
  json["predicted_ms"] = OrNull(row.predicted_ms);
  json["predicted_efficiency"] = OrNull(row.predicted_efficiency);
  json["exposed_comm_ms"] = row.ms ? Json(row.exposed_comm_ms) : Json(nullptr);
  json["predicted_exposed_comm_ms"] = OrNull(row.predicted_exposed_comm_ms);
  json["bytes_sent"] = row.ms ? Json(row.bytes_sent) : Json(nullptr);
  json["predicted_bytes_sent"] = row.predicted_bytes_sent;
  return json;
}

// Adds a series of `mode` where any of its rows has the value.
template <class Value>
void AddSeries(const ScalingReport& report, ScalingMode mode, bool predicted, const Value& value,
               Chart& chart) {
  ChartSeries series{.name = fmt::format("{}{}", NameOf(mode), predicted ? ", predicted" : ""),
                     .points = {},
                     .color = static_cast<int>(mode),
                     .dashed = predicted};
  for (const ScalingRow& row : report.rows) {
    const std::optional<double> y = value(row);
    if (row.mode == mode && y) series.points.push_back({static_cast<double>(row.ranks), *y});
  }
  if (!series.points.empty()) chart.series.push_back(std::move(series));
}

}  // namespace

std::string ToText(const ScalingReport& report) {
  TextTable table({{"mode"},
                   {"ranks", Align::kRight},
                   {"strategy"},
                   {"n", Align::kRight},
                   {"step", Align::kRight},
                   {"from-to", Align::kRight},
                   {"efficiency", Align::kRight},
                   {"roof ratio", Align::kRight},
                   {"exposed", Align::kRight},
                   {"sent", Align::kRight},
                   {"predicted", Align::kRight},
                   {"efficiency", Align::kRight},
                   {"exposed", Align::kRight}});
  for (const ScalingRow& row : report.rows) table.AddRow(Cells(row));
  std::string text =
      table.ToString() +
      "\nefficiency: FLOPs per second and rank over those of one rank; weak: n grows with ranks\n";
  if (report.rounds > 0) {
    const int threads = report.threads_per_rank;
    text += fmt::format("medians of {} rounds, {}, wall time of the slowest rank\n", report.rounds,
                        threads == kOnDevice ? "on devices" : ThreadsText(threads) + " a rank");
  }
  if (!report.machine.empty()) text += "predicted by " + report.machine + "\n";
  for (const std::string& note : report.notes) text += "note: " + note + "\n";
  return text;
}

Json ToJson(const ScalingReport& report) {
  Json json{{"rows", Json::array()},
            {"rounds", report.rounds},
            {"predicted_by", report.machine},
            {"notes", report.notes}};
  for (const ScalingRow& row : report.rows) json["rows"].push_back(RowJson(report, row));
  return json;
}

std::string ToSvg(const ScalingReport& report) {
  std::array charts = {Chart{.title = "time of a step",
                             .x_label = "ranks",
                             .y_label = "time",
                             .y_logarithmic = true,
                             .y_mark = [](double ms) { return FormatDuration(ms / 1e3); },
                             .series = {}},
                       Chart{.title = "efficiency",
                             .x_label = "ranks",
                             .y_label = "FLOPs per second and rank over one rank's",
                             .y_mark = [](double y) { return fmt::format("{:.0f}%", 100 * y); },
                             .series = {}}};
  for (const ScalingMode mode : {ScalingMode::kStrong, ScalingMode::kWeak}) {
    AddSeries(
        report, mode, false, [](const ScalingRow& row) { return MedianOf(row.ms); }, charts[0]);
    AddSeries(
        report, mode, true, [](const ScalingRow& row) { return row.predicted_ms; }, charts[0]);
    AddSeries(
        report, mode, false, [](const ScalingRow& row) { return MedianOf(row.efficiency); },
        charts[1]);
    AddSeries(
        report, mode, true, [](const ScalingRow& row) { return row.predicted_efficiency; },
        charts[1]);
  }
  return ChartsSvg(charts);
}

}  // namespace annulus::runtime
