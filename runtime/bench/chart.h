// Line charts as SVG, for reports.
#pragma once

#include <functional>
#include <span>
#include <string>
#include <vector>

#include "runtime/bench/statistics.h"

namespace annulus::runtime {

struct ChartSeries {
  std::string name;
  std::vector<Point> points;
  int color = 0;  // of a palette that colour-blind people can tell apart; wraps around
  bool dashed = false;
};

// x has a logarithmic axis with a mark at every power of two. The y axis is linear from 0, or
// logarithmic with a mark at every power of ten. Points need x > 0, and y > 0 or y >= 0.
struct Chart {
  std::string title;
  std::string x_label;
  std::string y_label;
  bool y_logarithmic = false;
  std::function<std::string(double)> y_mark;  // the text at a mark
  std::vector<ChartSeries> series;
};

// All charts in one picture, at most three side by side, each with its legend below.
std::string ChartsSvg(std::span<const Chart> charts);

}  // namespace annulus::runtime
