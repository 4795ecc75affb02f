#include "runtime/bench/chart.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/bench/well_formed.h"

namespace annulus::runtime {
namespace {

using testing::HasSubstr;

Chart MakeChart(bool logarithmic) {
  return {.title = "a < b & c",
          .x_label = "n",
          .y_label = "ratio",
          .y_logarithmic = logarithmic,
          .y_mark = [](double y) { return fmt::format("y{}", std::lround(10 * y)); },
          .series = {{.name = "first", .points = {{1024, 0.5}, {2048, 0.9}}, .color = 0},
                     {.name = "second", .points = {{1024, 0.2}}, .color = 9, .dashed = true}}};
}

TEST(ChartTest, IsWellFormed) {
  for (size_t charts : {0, 1, 2, 5}) {
    const std::vector<Chart> all(charts, MakeChart(charts % 2 == 1));
    const Xml svg = ParseXml(ChartsSvg(all));
    EXPECT_EQ(CountTags(svg, "polyline"), 2 * charts);
    EXPECT_EQ(CountTags(svg, "circle"), 3 * charts);
  }
}

TEST(ChartTest, MarksItsAxes) {
  const std::vector<Chart> linear = {MakeChart(false)};
  const std::string svg = ChartsSvg(linear);
  for (const char* text : {">a &lt; b &amp; c<", ">1K<", ">2K<", ">y0<", ">y10<", ">second<"}) {
    EXPECT_THAT(svg, HasSubstr(text));
  }
  const std::vector<Chart> logarithmic = {MakeChart(true)};
  for (const char* text : {">y1<", ">y10<"}) {
    EXPECT_THAT(ChartsSvg(logarithmic), HasSubstr(text));
  }
}

// The plot is 320 wide from 84 on and 240 high from 34 on.
TEST(ChartTest, PutsPointsWhereTheyBelong) {
  const std::vector<Chart> charts = {MakeChart(false)};
  EXPECT_THAT(ChartsSvg(charts), HasSubstr("points=\"84.0,154.0 404.0,58.0\""));
}

// One x and one y span no range.
TEST(ChartTest, DrawsASinglePoint) {
  for (const bool logarithmic : {false, true}) {
    Chart chart = MakeChart(logarithmic);
    chart.series.erase(chart.series.begin());
    const std::vector<Chart> charts = {chart};
    EXPECT_EQ(CountTags(ParseXml(ChartsSvg(charts)), "circle"), 1u);
    EXPECT_THAT(ChartsSvg(charts), testing::Not(HasSubstr("nan")));
  }
}

}  // namespace
}  // namespace annulus::runtime
