#include "runtime/io/atomic_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <csignal>
#include <filesystem>
#include <limits>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "kernels/base/error.h"
#include "runtime/io/json_lines.h"
#include "tests/runtime/temp_dir.h"

namespace annulus::runtime {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::HasSubstr;
using testing::ThrowsMessage;

// Lets files grow to `bytes` only, as a full disk would.
class FileSizeLimit {
 public:
  explicit FileSizeLimit(rlim_t bytes) : handler_(std::signal(SIGXFSZ, SIG_IGN)) {
    ::getrlimit(RLIMIT_FSIZE, &before_);
    const rlimit limit = {bytes, before_.rlim_max};
    ::setrlimit(RLIMIT_FSIZE, &limit);
  }
  ~FileSizeLimit() {
    ::setrlimit(RLIMIT_FSIZE, &before_);
    std::signal(SIGXFSZ, handler_);
  }

 private:
  void (*handler_)(int);
  rlimit before_;
};

TEST(AtomicFileTest, TheNameHoldsOldOrNewContent) {
  const TempDir dir;
  const std::string path = dir.Write("file", "old");
  {
    AtomicFile file(path);
    file.Write("new ");
    EXPECT_EQ(ReadFile(path), "old");
    file.Write("content");
    file.Commit();
    EXPECT_EQ(ReadFile(path), "new content");
    EXPECT_THROW(file.Write("more"), InternalError);
    EXPECT_THROW(file.Commit(), InternalError);
  }
  EXPECT_FALSE(fs::exists(path + ".tmp"));
  WriteFileAtomically(path, "");
  EXPECT_EQ(ReadFile(path), "");
}

TEST(AtomicFileTest, WhatIsNotCommittedLeavesNothing) {
  const TempDir dir;
  const std::string path = dir.At("file");
  { AtomicFile(path).Write("half"); }
  EXPECT_TRUE(fs::is_empty(dir.path()));
}

TEST(AtomicFileTest, FailuresNameCallPathAndReason) {
  const TempDir dir;
  const std::string missing = dir.At("none/file");
  EXPECT_THAT([&] { WriteFileAtomically(missing, "x"); },
              ThrowsMessage<SystemError>("open '" + missing + "': No such file or directory"));
  const std::string taken = dir.At("taken");
  fs::create_directory(taken);
  EXPECT_THAT([&] { WriteFileAtomically(taken, "x"); },
              ThrowsMessage<SystemError>("rename '" + taken + "': Is a directory"));
  EXPECT_FALSE(fs::exists(taken + ".tmp"));
}

TEST(AtomicFileTest, AFullDiskLeavesTheOldContent) {
  const TempDir dir;
  const std::string path = dir.Write("file", "old");
  const FileSizeLimit limit(1000);
  EXPECT_THAT([&] { WriteFileAtomically(path, std::string(1001, 'x')); },
              ThrowsMessage<SystemError>(
                  AllOf(HasSubstr("write '" + path + ".tmp'"), HasSubstr("File too large"))));
  EXPECT_EQ(ReadFile(path), "old");
  EXPECT_FALSE(fs::exists(path + ".tmp"));
}

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
