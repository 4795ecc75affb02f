#include "runtime/io/json_lines.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "kernels/base/error.h"
#include "tests/runtime/file_size_limit.h"
#include "tests/runtime/temp_dir.h"

namespace annulus::runtime {
namespace {

using testing::HasSubstr;
using testing::ThrowsMessage;

TEST(JsonLinesTest, EveryLineIsThereAtOnceAndKeepsItsOrder) {
  const TempDir dir;
  const std::string path = dir.Write("metrics.jsonl", "of another run\n");
  JsonLines lines(path, JsonLines::Start::kEmpty);
  EXPECT_EQ(ReadFile(path), "");
  lines.Append({{"step", 1}, {"loss", 2.5}, {"lr", std::numeric_limits<double>::quiet_NaN()}});
  EXPECT_EQ(ReadFile(path), "{\"step\":1,\"loss\":2.5,\"lr\":null}\n");
  lines.Append({{"step", 2}});
  EXPECT_EQ(ReadFile(path), "{\"step\":1,\"loss\":2.5,\"lr\":null}\n{\"step\":2}\n");
}

TEST(JsonLinesTest, ContinuesAfterTheLastWholeLine) {
  const TempDir dir;
  for (const auto& [before, kept] : std::vector<std::pair<std::string, std::string>>{
           {"", ""}, {"{}\n", "{}\n"}, {"{}\n{\"st", "{}\n"}, {"{\"st", ""}}) {
    const std::string path = dir.Write("metrics.jsonl", before);
    JsonLines(path, JsonLines::Start::kContinue).Append({{"step", 2}});
    EXPECT_EQ(ReadFile(path), kept + "{\"step\":2}\n");
  }
}

TEST(JsonLinesTest, FailuresNameCallPathAndReason) {
  const TempDir dir;
  const std::string missing = dir.At("none/metrics.jsonl");
  EXPECT_THAT([&] { JsonLines(missing, JsonLines::Start::kContinue); },
              ThrowsMessage<SystemError>("open '" + missing + "': No such file or directory"));
  JsonLines lines(dir.At("metrics.jsonl"), JsonLines::Start::kEmpty);
  const FileSizeLimit limit(3);
  EXPECT_THAT(
      [&] {
        lines.Append({{"step", 1}});
      },
      ThrowsMessage<SystemError>(HasSubstr("metrics.jsonl': File too large")));
}

}  // namespace
}  // namespace annulus::runtime
