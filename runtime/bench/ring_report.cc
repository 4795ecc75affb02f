#include "runtime/bench/ring_report.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "runtime/bench/bench_threads.h"
#include "runtime/bench/chart.h"
#include "runtime/bench/report_cells.h"
#include "runtime/config/strategy.h"
#include "runtime/io/format.h"

namespace annulus::runtime {
namespace {

std::string_view NameOf(RingBaseline baseline) {
  switch (baseline) {
    case RingBaseline::kOneProcess:
      return "one process";
    case RingBaseline::kOneRank:
      return "one rank / ranks";
    case RingBaseline::kOneDevice:
      return "one device / devices";
    case RingBaseline::kNone:
      return "none";
  }
  return "?";
}

std::vector<std::string> Cells(const RingRow& row) {
  const AttentionCase& attention = row.ring.attention;
  return {FormatCount(attention.n),
          std::to_string(attention.head_dim),
          std::string(kernels::NameOf(attention.dtype)),
          std::string(NameOf(attention.mask)),
          ShortName(row.ring.parallel),
          std::string(parallel::NameOf(row.ring.parallel.partition)),
          std::to_string(row.ranks),
          std::string(PassName(row.backward)),
          TimeCell(row.baseline_ms),
          TimeCell(MedianOf(row.ms)),
          PercentCell(MedianOf(row.efficiency)),
          row.efficiency ? fmt::format("{:.1f}-{:.1f}%", 100 * row.efficiency->least,
                                       100 * row.efficiency->most)
                         : "-",
          RatioCell(row.speed),
          row.ms ? FormatDuration(row.exposed_comm_ms / 1e3) : "-",
          FormatBytes(row.predicted_bytes_sent),
          TimeCell(row.predicted_ms),
          PercentCell(row.predicted_efficiency)};
}

nlohmann::ordered_json RowJson(const RingRow& row) {
  const AttentionCase& attention = row.ring.attention;
  nlohmann::ordered_json json{{"mode", "strong"},
                              {"ranks", row.ranks},
                              {"threads_per_rank", ThreadsJson(row.threads_per_rank)},
                              {"devices", OrNull(row.devices)},
                              {"strategy", ShortName(row.ring.parallel)},
                              {"partition", parallel::NameOf(row.ring.parallel.partition)}};
  AddCase(attention, json);
  json["pass"] = PassName(row.backward);
  json["clock"] = NameOf(row.clock);
  json["keys_in_place"] = row.ring.sharing.on();
  AddSpread("ms", row.ms, json);
  json["baseline"] = NameOf(row.baseline);
  json["baseline_ms"] = OrNull(row.baseline_ms);
  AddSpread("efficiency", row.efficiency, json);
  AddSpread("over_kernel", row.over_kernel, json);
  AddRates(row.speed, Roof::Caveat(attention.dtype, row.threads_per_rank), json);
  json["predicted_ms"] = OrNull(row.predicted_ms);
  json["predicted_efficiency"] = OrNull(row.predicted_efficiency);
  json["exposed_comm_ms"] = row.ms ? nlohmann::ordered_json(row.exposed_comm_ms) : nullptr;
  json["predicted_exposed_comm_ms"] = OrNull(row.predicted_exposed_comm_ms);
  json["bytes_sent"] = row.ms ? nlohmann::ordered_json(row.bytes_sent) : nullptr;
  json["predicted_bytes_sent"] = row.predicted_bytes_sent;
  return json;
}

// What the driver costs one rank; empty of several.
std::string OverKernelText(const RingRow& row) {
  if (!row.over_kernel) return "";
  const AttentionCase& attention = row.ring.attention;
  return fmt::format("over the bare kernel: {:.3f} ({:.3f}-{:.3f}), {}, n = {}, D = {}, {}, {}\n",
                     row.over_kernel->median, row.over_kernel->least, row.over_kernel->most,
                     PassName(row.backward), FormatCount(attention.n), attention.head_dim,
                     kernels::NameOf(attention.dtype), NameOf(attention.mask));
}

std::string TitleOf(const RingRow& row) {
  const AttentionCase& attention = row.ring.attention;
  return fmt::format("{} ranks, D = {}, {}, {}", row.ranks, attention.head_dim,
                     kernels::NameOf(attention.dtype), NameOf(attention.mask));
}

void AddPoint(const RingRow& row, bool predicted, double efficiency, Chart& chart) {
  const std::string name = fmt::format("{}, {} {}{}", ShortName(row.ring.parallel),
                                       parallel::NameOf(row.ring.parallel.partition),
                                       PassName(row.backward), predicted ? ", predicted" : "");
  auto series = std::find_if(chart.series.begin(), chart.series.end(),
                             [&](const ChartSeries& s) { return s.name == name; });
  if (series == chart.series.end()) {
    chart.series.push_back(
        {.name = name, .points = {}, .color = row.backward ? 1 : 0, .dashed = predicted});
    series = chart.series.end() - 1;
  }
  series->points.push_back({static_cast<double>(row.ring.attention.n), 100 * efficiency});
}

}  // namespace

std::string ToText(const RingReport& report) {
  TextTable table({{"n", Align::kRight},
                   {"D", Align::kRight},
                   {"dtype"},
                   {"mask"},
                   {"strategy"},
                   {"partition"},
                   {"ranks", Align::kRight},
                   {"pass"},
                   {"baseline", Align::kRight},
                   {"ring", Align::kRight},
                   {"efficiency", Align::kRight},
                   {"from-to", Align::kRight},
                   {"roof ratio", Align::kRight},
                   {"exposed", Align::kRight},
                   {"sent", Align::kRight},
                   {"predicted", Align::kRight},
                   {"efficiency", Align::kRight}});
  for (const RingRow& row : report.rows) table.AddRow(Cells(row));
  std::string text = table.ToString() + "\n";
  if (report.rows.empty()) return text;
  const RingRow& first = report.rows.front();
  if (report.rounds > 0) {
    text += fmt::format(
        "medians of {} rounds: the roof on all ranks, the baseline ({}), then the ring on {}, {} "
        "of the slowest\n",
        report.rounds, NameOf(first.baseline), RanksText(first.ranks, first.threads_per_rank),
        NameOf(first.clock));
  }
  for (const RingRow& row : report.rows) text += OverKernelText(row);
  if (!report.machine.empty()) text += "predicted by " + report.machine + "\n";
  std::set<std::string> keys;
  for (const RingRow& row : report.rows) keys.insert(row.ring.sharing.text);
  for (const std::string& how : keys) text += "keys: " + how + "\n";
  for (const std::string& note : report.notes) text += "note: " + note + "\n";
  return text;
}

nlohmann::ordered_json ToJson(const RingReport& report) {
  nlohmann::ordered_json json{{"rows", nlohmann::ordered_json::array()},
                              {"rounds", report.rounds},
                              {"predicted_by", report.machine},
                              {"notes", report.notes}};
  for (const RingRow& row : report.rows) json["rows"].push_back(RowJson(row));
  return json;
}

std::string ToSvg(const RingReport& report) {
  std::vector<Chart> charts;
  for (const RingRow& row : report.rows) {
    const std::string title = TitleOf(row);
    auto chart = std::find_if(charts.begin(), charts.end(),
                              [&](const Chart& c) { return c.title == title; });
    if (chart == charts.end()) {
      charts.push_back({.title = title,
                        .x_label = "n, tokens",
                        .y_label = "efficiency",
                        .y_mark = [](double y) { return fmt::format("{:.0f}%", y); },
                        .series = {}});
      chart = charts.end() - 1;
    }
    if (row.efficiency) AddPoint(row, false, row.efficiency->median, *chart);
    if (row.predicted_efficiency) AddPoint(row, true, *row.predicted_efficiency, *chart);
  }
  return ChartsSvg(charts);
}

}  // namespace annulus::runtime
