#include "runtime/bench/wall_report.h"

#include <nlohmann/json.hpp>

#include "runtime/bench/chart.h"
#include "runtime/bench/report_cells.h"
#include "runtime/io/format.h"

namespace annulus::runtime {
namespace {

constexpr std::array kAttentions = {WallPart::kFused, WallPart::kNaive};

std::vector<std::string> Cells(const WallRow& row) {
  return {FormatCount(row.n),
          std::string(NameOf(row.part)),
          FormatDuration(row.forward_ms / 1e3),
          FormatDuration(row.backward_ms / 1e3),
          FormatDuration(row.both.ms / 1e3),
          fmt::format("{:.3f}", row.both.roof_ratio),
          FormatBytes(row.activation_bytes)};
}

std::string ExponentText(const std::vector<Point>& points) {
  const std::optional<double> exponent = FitExponent(LargerHalf(points));
  return exponent ? fmt::format("n^{:.2f}", *exponent) : "one n measured";
}

std::string CrossoverText(const WallReport& report, WallPart part) {
  const WallReport::Comparison both = report.WithMlp(part);
  if (both.part.empty()) return "";
  if (const std::optional<double> n = report.Crossover(part)) {
    return fmt::format("{} attention overtakes the MLP at n = {}\n", NameOf(part),
                       FormatCount(std::llround(*n)));
  }
  const bool above = both.part.back().y > both.mlp.back().y;
  return fmt::format("{} attention takes {} time than the MLP at all n from {} to {}\n",
                     NameOf(part), above ? "more" : "less",
                     FormatCount(std::llround(both.part.front().x)),
                     FormatCount(std::llround(both.part.back().x)));
}

nlohmann::ordered_json RowJson(const WallReport& report, const WallRow& row) {
  AttentionCase shape = report.shape;
  shape.n = row.n;
  nlohmann::ordered_json json;
  AddCase(shape, json);
  json["threads"] = ThreadsJson(report.threads);
  json["part"] = NameOf(row.part);
  json["forward_ms"] = row.forward_ms;
  json["backward_ms"] = row.backward_ms;
  json["ms"] = row.both.ms;
  AddRates(row.both, Roof::Caveat(shape.dtype, report.threads), json);
  json["rounds"] = report.rounds;
  json["clock"] = NameOf(ClockOf(report.threads));
  json["peak_bytes"] = row.activation_bytes;
  return json;
}

ChartSeries SeriesOf(WallPart part, std::vector<Point> points) {
  const std::string exponent = ExponentText(points);
  return {.name = fmt::format("{}: {}", NameOf(part), exponent),
          .points = std::move(points),
          .color = static_cast<int>(part)};
}

}  // namespace

std::string ToText(const WallReport& report) {
  TextTable table({{"n", Align::kRight},
                   {"part"},
                   {"forward", Align::kRight},
                   {"backward", Align::kRight},
                   {"both", Align::kRight},
                   {"ratio", Align::kRight},
                   {"peak", Align::kRight}});
  for (const WallRow& row : report.rows) table.AddRow(Cells(row));
  TextTable fits({{"grows as"}, {"time", Align::kRight}, {"memory", Align::kRight}});
  for (const WallPart part : kWallParts) {
    if (report.Times(part).empty()) continue;
    fits.AddRow({std::string(NameOf(part)), ExponentText(report.Times(part)),
                 ExponentText(report.Memory(part))});
  }
  std::string text =
      fmt::format("{} heads of size {}, {}, {} mask, beside an MLP of {} x {}; {}, {}\n\n",
                  report.shape.heads, report.shape.head_dim, kernels::NameOf(report.shape.dtype),
                  NameOf(report.shape.mask), report.hidden_size, report.intermediate_size,
                  ThreadsText(report.threads), NameOf(ClockOf(report.threads))) +
      table.ToString() + "\n" + fits.ToString() + "\n";
  for (const WallPart part : kAttentions) text += CrossoverText(report, part);
  for (const std::string& skipped : report.skipped) text += "left out: " + skipped + "\n";
  const std::string caveat = Roof::Caveat(report.shape.dtype, report.threads);
  if (!caveat.empty()) text += "warning: " + caveat + "\n";
  return text + "ended: " + report.stopped + "\n";
}

nlohmann::ordered_json ToJson(const WallReport& report) {
  nlohmann::ordered_json json{{"hidden_size", report.hidden_size},
                              {"intermediate_size", report.intermediate_size},
                              {"rows", nlohmann::ordered_json::array()}};
  for (const WallRow& row : report.rows) json["rows"].push_back(RowJson(report, row));
  for (const WallPart part : kWallParts) {
    json["exponents"][std::string(NameOf(part))] = {
        {"time", OrNull(FitExponent(LargerHalf(report.Times(part))))},
        {"memory", OrNull(FitExponent(LargerHalf(report.Memory(part))))}};
  }
  for (const WallPart part : kAttentions) {
    json["crossover"][std::string(NameOf(part))] = OrNull(report.Crossover(part));
  }
  json["skipped"] = report.skipped;
  json["stopped"] = report.stopped;
  return json;
}

std::string ToSvg(const WallReport& report) {
  const std::string title =
      fmt::format("{} x {}, {}, {}", report.shape.heads, report.shape.head_dim,
                  kernels::NameOf(report.shape.dtype), NameOf(report.shape.mask));
  std::array charts = {Chart{.title = "time of forward and backward, " + title,
                             .x_label = "n, tokens",
                             .y_label = "time",
                             .y_logarithmic = true,
                             .y_mark = [](double ms) { return FormatDuration(ms / 1e3); },
                             .series = {}},
                       Chart{.title = "memory, " + title,
                             .x_label = "n, tokens",
                             .y_label = "peak without weights",
                             .y_logarithmic = true,
                             .y_mark = [](double bytes) { return FormatRate(bytes, "B"); },
                             .series = {}}};
  for (const WallPart part : kWallParts) {
    if (report.Times(part).empty()) continue;
    charts[0].series.push_back(SeriesOf(part, report.Times(part)));
    charts[1].series.push_back(SeriesOf(part, report.Memory(part)));
  }
  return ChartsSvg(charts);
}

}  // namespace annulus::runtime
