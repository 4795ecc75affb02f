#include "runtime/bench/statistics.h"

#include <algorithm>
#include <cmath>

#include "kernels/base/error.h"

namespace annulus::runtime {

double Median(std::vector<double> values) {
  Check(!values.empty(), "the median of nothing");
  std::sort(values.begin(), values.end());
  const size_t middle = values.size() / 2;
  return values.size() % 2 == 1 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
}

Spread SpreadOf(std::vector<double> values) {
  Check(!values.empty(), "the spread of nothing");
  const auto [least, most] = std::minmax_element(values.begin(), values.end());
  Spread spread{.median = 0, .least = *least, .most = *most};
  spread.median = Median(std::move(values));
  return spread;
}

std::optional<double> FitExponent(std::span<const Point> points) {
  if (points.size() < 2) return std::nullopt;
  const auto count = static_cast<double>(points.size());
  double mean_x = 0, mean_y = 0;
  for (const Point& p : points) {
    mean_x += std::log(p.x) / count;
    mean_y += std::log(p.y) / count;
  }
  double covariance = 0, variance = 0;
  for (const Point& p : points) {
    covariance += (std::log(p.x) - mean_x) * (std::log(p.y) - mean_y);
    variance += (std::log(p.x) - mean_x) * (std::log(p.x) - mean_x);
  }
  return covariance / variance;
}

std::span<const Point> LargerHalf(std::span<const Point> points) {
  const size_t count = std::min(points.size(), std::max<size_t>(2, (points.size() + 1) / 2));
  return points.last(count);
}

std::optional<double> Crossover(std::span<const Point> first, std::span<const Point> second) {
  Check(first.size() == second.size(), "a crossover of {} points with {}", first.size(),
        second.size());
  for (size_t i = first.size(); i-- > 1;) {
    const double before = std::log(first[i - 1].y / second[i - 1].y);
    const double after = std::log(first[i].y / second[i].y);
    if (after <= 0) return std::nullopt;  // still below at the largest
    if (before > 0) continue;
    const double part = before / (before - after);
    return first[i - 1].x * std::pow(first[i].x / first[i - 1].x, part);
  }
  return std::nullopt;
}

}  // namespace annulus::runtime
