#include "runtime/bench/statistics.h"

#include <gtest/gtest.h>

#include <cmath>

namespace annulus::runtime {
namespace {

std::vector<Point> PowerLaw(double factor, double exponent, double noise = 0) {
  std::vector<Point> points;
  double sign = 1;
  for (double x = 1024; x <= 65536; x *= 2, sign = -sign) {
    points.push_back({x, factor * std::pow(x, exponent) * (1 + sign * noise)});
  }
  return points;
}

TEST(StatisticsTest, MedianIsTheMiddle) {
  EXPECT_EQ(Median({3}), 3);
  EXPECT_EQ(Median({9, 1, 2}), 2);
  EXPECT_EQ(Median({9, 1, 2, 4}), 3);
}

TEST(StatisticsTest, FindsTheExponentOfAPowerLaw) {
  for (const double exponent : {0.0, 1.0, 1.5, 2.0}) {
    EXPECT_NEAR(*FitExponent(PowerLaw(3e-5, exponent)), exponent, 1e-9);
    EXPECT_NEAR(*FitExponent(PowerLaw(3e-5, exponent, 0.05)), exponent, 0.03);
  }
  EXPECT_FALSE(FitExponent({}));
  const std::vector<Point> one = {{1024, 3}};
  EXPECT_FALSE(FitExponent(one));
}

// a n + b n^2 looks steeper where n is large.
TEST(StatisticsTest, TheLargerHalfShowsTheGrowth) {
  std::vector<Point> points = PowerLaw(1, 2);
  for (Point& point : points) point.y += 8192 * point.x;
  EXPECT_EQ(LargerHalf(points).size(), 4u);
  EXPECT_EQ(LargerHalf(points).back().x, points.back().x);
  EXPECT_GT(*FitExponent(LargerHalf(points)), *FitExponent(points) + 0.1);
  EXPECT_EQ(LargerHalf(std::span(points).first(2)).size(), 2u);
  EXPECT_EQ(LargerHalf(std::span(points).first(1)).size(), 1u);
}

TEST(StatisticsTest, PowerLawsCrossWhereTheyAreEqual) {
  const std::vector<Point> linear = PowerLaw(5000, 1), square = PowerLaw(1, 2);
  EXPECT_NEAR(*Crossover(square, linear), 5000, 1e-6);
  EXPECT_FALSE(Crossover(linear, square));            // falls below, does not overtake
  EXPECT_FALSE(Crossover(square, PowerLaw(1e6, 1)));  // not yet
  EXPECT_FALSE(Crossover(square, PowerLaw(10, 1)));   // long ago
  EXPECT_NEAR(*Crossover(square, PowerLaw(2048, 1)), 2048, 1e-6);
}

}  // namespace
}  // namespace annulus::runtime
