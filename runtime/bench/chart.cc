#include "runtime/bench/chart.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

namespace annulus::runtime {
namespace {

// Pixels. A chart is a cell of the picture: the plot with its marks, then the legend.
constexpr double kCellWidth = 420;
constexpr double kLeft = 84, kRight = 16, kTop = 34;
constexpr double kPlotWidth = kCellWidth - kLeft - kRight, kPlotHeight = 240;
constexpr double kLegendTop = kTop + kPlotHeight + 52, kLegendLine = 17;
constexpr size_t kAcross = 3;

// Okabe & Ito 2008.
constexpr std::array<std::string_view, 7> kColors = {"#0072b2", "#d55e00", "#009e73", "#cc79a7",
                                                     "#e69f00", "#56b4e9", "#000000"};

std::string Escaped(std::string_view text) {
  std::string out;
  for (const char c : text) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      default:
        out += c;
    }
  }
  return out;
}

// An axis from data to pixels, growing from `from` to `to`.
struct Axis {
  bool logarithmic;
  double low, high;  // of the data
  double from, to;   // pixels

  double At(double value) const {
    const double part =
        logarithmic ? std::log(value / low) / std::log(high / low) : (value - low) / (high - low);
    return from + part * (to - from);
  }
};

struct Range {
  double low = std::numeric_limits<double>::infinity();
  double high = 0;
};

Range RangeOf(const Chart& chart, double Point::*value) {
  Range range;
  for (const ChartSeries& series : chart.series) {
    for (const Point& point : series.points) {
      range.low = std::min(range.low, point.*value);
      range.high = std::max(range.high, point.*value);
    }
  }
  return range.high > 0 ? range : Range{1, 2};
}

// The whole powers of `base` around the range; apart even where it is a single value.
Range Powers(Range range, double base) {
  const double low = std::floor(std::log(range.low) / std::log(base) + 1e-9);
  const double high = std::ceil(std::log(range.high) / std::log(base) - 1e-9);
  return {std::pow(base, low), std::pow(base, std::max(high, low + 1))};
}

// The step of about five marks from 0 to `high`: 1, 2 or 5 times a power of ten.
double LinearStep(double high) {
  const double power = std::pow(10, std::floor(std::log10(high / 5)));
  for (const double digit : {1.0, 2.0, 5.0}) {
    if (high / (digit * power) <= 5.5) return digit * power;
  }
  return 10 * power;
}

std::string PowerOfTwoMark(double value) {
  if (value >= 1024 * 1024) return fmt::format("{:g}M", value / (1024 * 1024));
  return value >= 1024 ? fmt::format("{:g}K", value / 1024) : fmt::format("{:g}", value);
}

class ChartWriter {
 public:
  explicit ChartWriter(const Chart& chart) : chart_(chart) {
    const Range x = Powers(RangeOf(chart, &Point::x), 2);
    x_ = {true, x.low, x.high, kLeft, kLeft + kPlotWidth};
    Range y = RangeOf(chart, &Point::y);
    if (chart.y_logarithmic) {
      y = Powers(y, 10);
    } else {
      step_ = LinearStep(y.high);
      y = {0, step_ * std::ceil(y.high / step_ - 1e-9)};
    }
    y_ = {chart.y_logarithmic, y.low, y.high, kTop + kPlotHeight, kTop};
  }

  std::string Text() {
    Write(kLeft + kPlotWidth / 2, 20, "middle", chart_.title, " font-weight=\"bold\"");
    Marks();
    Write(kLeft + kPlotWidth / 2, kTop + kPlotHeight + 34, "middle", chart_.x_label);
    text_ += fmt::format(
        "<text transform=\"translate(14 {:.1f}) rotate(-90)\" text-anchor=\"middle\">{}</text>\n",
        kTop + kPlotHeight / 2, Escaped(chart_.y_label));
    double y = kLegendTop;
    for (const ChartSeries& series : chart_.series) {
      Line(series);
      Legend(series, y);
      y += kLegendLine;
    }
    return std::move(text_);
  }

 private:
  void Write(double x, double y, std::string_view anchor, std::string_view text,
             std::string_view attributes = "") {
    text_ += fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"{}\"{}>{}</text>\n", x, y,
                         anchor, attributes, Escaped(text));
  }

  void Rule(double x1, double y1, double x2, double y2) {
    text_ += fmt::format(
        "<line x1=\"{:.1f}\" y1=\"{:.1f}\" x2=\"{:.1f}\" y2=\"{:.1f}\" stroke=\"#ddd\"/>\n", x1, y1,
        x2, y2);
  }

  void Marks() {
    const double bottom = kTop + kPlotHeight;
    for (double x = x_.low; x <= x_.high * 1.001; x *= 2) {
      Rule(x_.At(x), kTop, x_.At(x), bottom);
      Write(x_.At(x), bottom + 16, "middle", PowerOfTwoMark(x));
    }
    const double most = y_.high * 1.001;
    for (double y = y_.low; y <= most; y = y_.logarithmic ? y * 10 : y + step_) {
      Rule(kLeft, y_.At(y), kLeft + kPlotWidth, y_.At(y));
      Write(kLeft - 6, y_.At(y) + 4, "end", chart_.y_mark(y));
    }
  }

  static std::string Stroke(const ChartSeries& series) {
    const auto color = static_cast<size_t>(series.color) % kColors.size();
    return fmt::format("fill=\"none\" stroke=\"{}\" stroke-width=\"2\"{}", kColors[color],
                       series.dashed ? " stroke-dasharray=\"6 4\"" : "");
  }

  void Line(const ChartSeries& series) {
    std::string points;
    for (const Point& point : series.points) {
      points +=
          fmt::format("{}{:.1f},{:.1f}", points.empty() ? "" : " ", x_.At(point.x), y_.At(point.y));
    }
    text_ += fmt::format("<polyline {} points=\"{}\"/>\n", Stroke(series), points);
    const auto color = static_cast<size_t>(series.color) % kColors.size();
    for (const Point& point : series.points) {
      text_ += fmt::format("<circle cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"3\" fill=\"{}\"/>\n",
                           x_.At(point.x), y_.At(point.y), kColors[color]);
    }
  }

  void Legend(const ChartSeries& series, double y) {
    text_ += fmt::format("<path {} d=\"M{:.1f} {:.1f}h30\"/>\n", Stroke(series), kLeft, y - 4);
    Write(kLeft + 38, y, "start", series.name);
  }

  const Chart& chart_;
  Axis x_{};
  Axis y_{};
  double step_ = 0;  // of a linear y axis
  std::string text_;
};

}  // namespace

std::string ChartsSvg(std::span<const Chart> charts) {
  size_t most_series = 0;
  for (const Chart& chart : charts) most_series = std::max(most_series, chart.series.size());
  const double cell_height = kLegendTop + kLegendLine * static_cast<double>(most_series);
  const size_t across = std::max<size_t>(1, std::min(kAcross, charts.size()));
  const size_t down = (charts.size() + across - 1) / across;
  std::string svg = fmt::format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{0:.0f}\" height=\"{1:.0f}\" "
      "viewBox=\"0 0 {0:.0f} {1:.0f}\" font-family=\"sans-serif\" font-size=\"12\">\n"
      "<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n",
      kCellWidth * static_cast<double>(across), cell_height * static_cast<double>(down));
  for (size_t i = 0; i < charts.size(); ++i) {
    svg +=
        fmt::format("<g transform=\"translate({:.0f} {:.0f})\">\n{}</g>\n",
                    kCellWidth * static_cast<double>(i % across),
                    cell_height * static_cast<double>(i / across), ChartWriter(charts[i]).Text());
  }
  return svg + "</svg>\n";
}

}  // namespace annulus::runtime
