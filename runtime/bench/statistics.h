// Small statistics of measurements.
#pragma once

#include <optional>
#include <span>
#include <vector>

namespace annulus::runtime {

// The middle value, or the mean of the two in the middle. Requires one value at least.
double Median(std::vector<double> values);

// A median and what it lies between.
struct Spread {
  double median = 0;
  double least = 0;
  double most = 0;
};
// Requires one value at least.
Spread SpreadOf(std::vector<double> values);

struct Point {
  double x = 0;
  double y = 0;
};

// The exponent b of y = a * x^b, by least squares of log y over log x. Nothing for fewer than two
// points. Requires positive, different x and positive y.
std::optional<double> FitExponent(std::span<const Point> points);

// The larger half of the points by x, two at least where there are two: small sizes are ruled by
// costs that do not grow. Requires ascending x.
std::span<const Point> LargerHalf(std::span<const Point> points);

// Where `first` overtakes `second`: the x at which their ratio, taken as a power of x between
// neighbours, passes 1 for good. Nothing where it does not cross. Requires points at the same
// ascending x.
std::optional<double> Crossover(std::span<const Point> first, std::span<const Point> second);

}  // namespace annulus::runtime
