#include "runtime/bench/attention_report.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "runtime/bench/chart.h"
#include "runtime/bench/report_cells.h"
#include "runtime/io/format.h"

namespace annulus::runtime {
namespace {

nlohmann::ordered_json CaseJson(const AttentionCase& shape, int threads, AttentionMethod method) {
  nlohmann::ordered_json json;
  AddCase(shape, json);
  json["threads"] = ThreadsJson(threads);
  json["implementation"] = NameOf(method);
  return json;
}

nlohmann::ordered_json RowJson(const AttentionRow& row) {
  nlohmann::ordered_json json = CaseJson(row.shape, row.threads, row.implementation);
  json["pass"] = PassName(row.backward);
  json["ms"] = row.speed.ms;
  AddRates(row.speed, Roof::Caveat(row.shape.dtype, row.threads), json);
  json["rounds"] = row.rounds;
  json["clock"] = NameOf(ClockOf(row.threads));
  json["peak_bytes"] = row.peak_bytes;
  json["area"] = row.area;
  json["time_over_full"] = nullptr;
  if (row.time_over_full) json["time_over_full"] = *row.time_over_full;
  return json;
}

std::vector<std::string> Cells(const AttentionRow& row) {
  const PassSummary& speed = row.speed;
  return {FormatCount(row.shape.n),
          std::to_string(row.shape.head_dim),
          std::string(kernels::NameOf(row.shape.dtype)),
          std::string(NameOf(row.shape.mask)),
          row.threads == kOnDevice ? "-" : std::to_string(row.threads),
          std::string(NameOf(row.implementation)),
          std::string(PassName(row.backward)),
          FormatDuration(speed.ms / 1e3),
          fmt::format("{:.1f}", speed.gflops),
          fmt::format("{:.1f}", speed.roof_gflops),
          fmt::format("{:.3f}", speed.roof_ratio),
          fmt::format("{:.3f}-{:.3f}", speed.roof_ratio_min, speed.roof_ratio_max),
          FormatBytes(row.peak_bytes),
          fmt::format("{:.3f}", row.area),
          row.time_over_full ? fmt::format("{:.3f}", *row.time_over_full) : "-"};
}

// What one clock measured: "1 thread: thread CPU time".
std::string Clocks(const std::vector<AttentionRow>& rows) {
  std::vector<std::string> clocks;
  for (const AttentionRow& row : rows) {
    const std::string clock =
        fmt::format("{}: {}", ThreadsText(row.threads), NameOf(ClockOf(row.threads)));
    if (std::find(clocks.begin(), clocks.end(), clock) == clocks.end()) clocks.push_back(clock);
  }
  return fmt::format("{}", fmt::join(clocks, "; "));
}

bool SameChart(const AttentionRow& a, const AttentionRow& b) {
  return a.shape.head_dim == b.shape.head_dim && a.shape.dtype == b.shape.dtype &&
         a.shape.mask == b.shape.mask && a.threads == b.threads;
}

Chart EmptyChart(const AttentionRow& row) {
  return {.title = fmt::format("D = {}, {}, {}, {}", row.shape.head_dim,
                               kernels::NameOf(row.shape.dtype), NameOf(row.shape.mask),
                               ThreadsText(row.threads)),
          .x_label = "n, tokens",
          .y_label = Roof::Caveat(row.shape.dtype, row.threads).empty()
                         ? "rate over that of large matrix products"
                         : "rate over widened f32 products, not bf16",
          .y_mark = [](double y) { return fmt::format("{:.1f}", y); },
          .series = {}};
}

void AddPoint(Chart& chart, const AttentionRow& row) {
  const std::string name = fmt::format("{} {}", NameOf(row.implementation), PassName(row.backward));
  auto series = std::find_if(chart.series.begin(), chart.series.end(),
                             [&](const ChartSeries& s) { return s.name == name; });
  if (series == chart.series.end()) {
    chart.series.push_back({.name = name,
                            .points = {},
                            .color = static_cast<int>(row.implementation),
                            .dashed = row.backward});
    series = chart.series.end() - 1;
  }
  series->points.push_back({static_cast<double>(row.shape.n), row.speed.roof_ratio});
}

}  // namespace

std::string ToText(const AttentionReport& report) {
  TextTable table({{"n", Align::kRight},
                   {"D", Align::kRight},
                   {"dtype"},
                   {"mask"},
                   {"threads", Align::kRight},
                   {"by"},
                   {"pass"},
                   {"time", Align::kRight},
                   {"GFLOP/s", Align::kRight},
                   {"roof", Align::kRight},
                   {"ratio", Align::kRight},
                   {"from-to", Align::kRight},
                   {"peak", Align::kRight},
                   {"area", Align::kRight},
                   {"time/full", Align::kRight}});
  for (const AttentionRow& row : report.rows) table.AddRow(Cells(row));
  std::string text;
  for (const SkippedCase& s : report.skipped) {
    text += fmt::format("left out: {}, {}: {}\n", NameOf(s.implementation),
                        Describe(s.shape, s.threads), s.reason);
  }
  if (report.rows.empty()) return text;
  for (const AttentionRow& row : report.rows) {
    const std::string caveat = Roof::Caveat(row.shape.dtype, row.threads);
    if (caveat.empty()) continue;
    text += "warning: " + caveat + "\n";
    break;
  }
  return table.ToString() +
         fmt::format("\nmedians of {} rounds, each beside the roof of that moment; {}\n",
                     report.rows.front().rounds, Clocks(report.rows)) +
         text;
}

nlohmann::ordered_json ToJson(const AttentionReport& report) {
  nlohmann::ordered_json json{{"rows", nlohmann::ordered_json::array()},
                              {"skipped", nlohmann::ordered_json::array()}};
  for (const AttentionRow& row : report.rows) json["rows"].push_back(RowJson(row));
  for (const SkippedCase& skipped : report.skipped) {
    nlohmann::ordered_json entry = CaseJson(skipped.shape, skipped.threads, skipped.implementation);
    entry["reason"] = skipped.reason;
    json["skipped"].push_back(entry);
  }
  return json;
}

std::string ToSvg(const AttentionReport& report) {
  std::vector<Chart> charts;
  std::vector<AttentionRow> first;  // of each chart
  for (const AttentionRow& row : report.rows) {
    const auto same = std::find_if(first.begin(), first.end(),
                                   [&](const AttentionRow& r) { return SameChart(r, row); });
    const auto at = static_cast<size_t>(same - first.begin());
    if (same == first.end()) {
      first.push_back(row);
      charts.push_back(EmptyChart(row));
    }
    AddPoint(charts[at], row);
  }
  return ChartsSvg(charts);
}

}  // namespace annulus::runtime
