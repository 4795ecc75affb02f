#include "runtime/io/atomic_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <string>

#include "kernels/base/error.h"
#include "tests/runtime/file_size_limit.h"
#include "tests/runtime/temp_dir.h"

namespace annulus::runtime {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::HasSubstr;
using testing::ThrowsMessage;

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

}  // namespace
}  // namespace annulus::runtime
