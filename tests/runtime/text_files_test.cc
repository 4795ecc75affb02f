#include "runtime/data/text_files.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <string>

#include "kernels/base/error.h"
#include "runtime/io/file_bytes.h"
#include "tests/runtime/temp_dir.h"

namespace annulus::runtime {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::ThrowsMessage;

std::vector<std::string> Names(const std::string& data_path) {
  std::vector<std::string> names;
  for (const TextFile& file : FindTextFiles(data_path)) names.push_back(file.name);
  return names;
}

class FindTextFilesTest : public testing::Test {
 protected:
  FindTextFilesTest() {
    dir_.Write("src/one/b.h", "bb");
    dir_.Write("src/one/a.h", "a");
    dir_.Write("src/two/c.h", "ccc");
    dir_.Write("src/two/c.cc", "cccc");
    dir_.Write("src/two/empty.h", "");
    dir_.Write("src/.hidden/d.h", "d");
  }

  TempDir dir_;
};

TEST_F(FindTextFilesTest, TakesAFile) {
  const std::vector<TextFile> files = FindTextFiles(dir_.At("src/one/b.h"));
  ASSERT_EQ(files.size(), 1U);
  EXPECT_EQ(files[0].path, dir_.At("src/one/b.h"));
  EXPECT_EQ(files[0].name, "b.h");
  EXPECT_EQ(files[0].bytes, 2);
}

TEST_F(FindTextFilesTest, TakesADirectoryInOrderOfName) {
  EXPECT_THAT(Names(dir_.At("src")), ElementsAre("one/a.h", "one/b.h", "two/c.cc", "two/c.h"));
  EXPECT_THAT(Names(dir_.At("src/")), ElementsAre("one/a.h", "one/b.h", "two/c.cc", "two/c.h"));
}

TEST_F(FindTextFilesTest, TakesAPattern) {
  EXPECT_THAT(Names(dir_.At("src/*/*.h")), ElementsAre("one/a.h", "one/b.h", "two/c.h"));
  EXPECT_THAT(Names(dir_.At("src/t*")), ElementsAre("two/c.cc", "two/c.h"));
}

TEST_F(FindTextFilesTest, TakesAListAndEachFileOnce) {
  EXPECT_THAT(
      Names(dir_.At("src/two") + ", " + dir_.At("src/one/a.h") + "," + dir_.At("src/*/a.h")),
      ElementsAre("a.h", "c.cc", "c.h"));
}

TEST_F(FindTextFilesTest, TakesAPathThatExistsAsWritten) {
  const std::string path = dir_.Write("a,b*[c]", "text");
  EXPECT_THAT(Names(path), ElementsAre("a,b*[c]"));
}

TEST_F(FindTextFilesTest, KnowsTheHomeDirectory) {
  const char* home = std::getenv("HOME");
  const std::string before = home == nullptr ? "" : home;
  ::setenv("HOME", dir_.path().c_str(), 1);
  EXPECT_THAT(Names("~/src/two/c.cc"), ElementsAre("c.cc"));
  ::setenv("HOME", before.c_str(), 1);
}

TEST_F(FindTextFilesTest, IsSafeFromLinks) {
  fs::create_directory_symlink(dir_.At("src"), dir_.At("src/one/cycle"));
  fs::create_symlink(dir_.At("src/one/loop"), dir_.At("src/one/loop"));
  fs::create_symlink(dir_.At("nowhere"), dir_.At("src/one/dangling"));
  fs::create_symlink(dir_.At("src/two/c.h"), dir_.At("src/one/link.h"));
  fs::create_directory_symlink(dir_.At("src"), dir_.At("root"));
  // c.h is reached twice and keeps the first of its names.
  EXPECT_THAT(Names(dir_.At("root")), ElementsAre("one/a.h", "one/b.h", "one/link.h", "two/c.cc"));
  EXPECT_THAT([&] { FindTextFiles(dir_.At("src/one/loo*")); },
              ThrowsMessage<ConfigError>(HasSubstr("loop' is neither a file nor a directory")));
}

TEST_F(FindTextFilesTest, SkipsWhatIsNoFileInADirectoryButNotWhenNamed) {
  const std::string pipe = dir_.At("src/two/pipe");
  ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
  EXPECT_THAT(Names(dir_.At("src/two")), ElementsAre("c.cc", "c.h"));
  EXPECT_THAT([&] { FindTextFiles(pipe); },
              ThrowsMessage<ConfigError>(HasSubstr("neither a file nor a directory")));
  EXPECT_THAT([&] { FileBytes bytes(pipe); },
              ThrowsMessage<ConfigError>(HasSubstr("not a regular file")));
}

TEST_F(FindTextFilesTest, SaysWhatIsMissing) {
  EXPECT_THAT([&] { FindTextFiles(dir_.At("nothing")); },
              ThrowsMessage<ConfigError>(
                  AllOf(HasSubstr("cannot find a file or directory '" + dir_.At("nothing")),
                        HasSubstr("give a file, a directory, a pattern such as"))));
  EXPECT_THAT([&] { FindTextFiles(dir_.At("src") + "," + dir_.At("*.txt")); },
              ThrowsMessage<ConfigError>(HasSubstr("no file matches '" + dir_.At("*.txt"))));
  for (const std::string& empty :
       {dir_.At("src/two/empty.h"), dir_.Write("d/empty", "").substr(0, dir_.At("d").size()),
        std::string(" , ")}) {
    EXPECT_THAT([&] { FindTextFiles(empty); },
                ThrowsMessage<ConfigError>(HasSubstr("leads to no file with anything in it")));
  }
}

// Runs as nobody where the tests run as root, whom no file refuses.
class AsNobody {
 public:
  AsNobody() {
    if (::geteuid() == 0) switched_ = ::seteuid(65534) == 0;
  }
  ~AsNobody() {
    if (switched_ && ::seteuid(0) != 0) std::abort();
  }

 private:
  bool switched_ = false;
};

TEST_F(FindTextFilesTest, SaysWhatCannotBeRead) {
  ASSERT_EQ(::chmod(dir_.path().c_str(), 0755), 0);
  const std::string file = dir_.At("src/one/a.h");
  ASSERT_EQ(::chmod(file.c_str(), 0), 0);
  ASSERT_EQ(::chmod(dir_.At("src/two").c_str(), 0), 0);
  {
    const AsNobody nobody;
    EXPECT_THAT([&] { FileBytes bytes(file); },
                ThrowsMessage<ConfigError>("cannot open '" + file + "': Permission denied"));
    EXPECT_THAT(
        [&] { FindTextFiles(dir_.At("src")); },
        ThrowsMessage<ConfigError>(AllOf(HasSubstr("cannot read '" + dir_.At("src/two") + "'"),
                                         HasSubstr("Permission denied"))));
  }
  ASSERT_EQ(::chmod(dir_.At("src/two").c_str(), 0755), 0);
}

std::vector<TextFile> FilesOf(const std::vector<int64_t>& sizes) {
  std::vector<TextFile> files;
  for (size_t i = 0; i < sizes.size(); ++i) {
    files.push_back({"/somewhere", fmt::format("file{}", i), sizes[i]});
  }
  return files;
}

TEST(ChooseHeldOutTest, ComesNearTheFractionFromBelow) {
  std::vector<int64_t> sizes;
  for (int64_t i = 0; i < 500; ++i) sizes.push_back(10 + i * i % 997);
  const std::vector<TextFile> files = FilesOf(sizes);
  int64_t all = 0, held_out = 0;
  for (const TextFile& file : files) all += file.bytes;
  for (size_t i : ChooseHeldOut(files, 0.1)) held_out += files[i].bytes;
  EXPECT_LE(held_out, all / 10);
  EXPECT_GT(held_out, all / 10 - 20);
}

TEST(ChooseHeldOutTest, TakesAtLeastOneAndLeavesAtLeastOne) {
  EXPECT_THAT(ChooseHeldOut(FilesOf({50, 40, 60}), 0.01), ElementsAre(1U));
  EXPECT_THAT(ChooseHeldOut(FilesOf({50, 50}), 0.999), testing::SizeIs(1));
  EXPECT_THAT(ChooseHeldOut(FilesOf({50}), 0.5), IsEmpty());
  EXPECT_THAT(ChooseHeldOut(FilesOf({50, 50}), 0), IsEmpty());
}

TEST(ChooseHeldOutTest, LooksAtNamesAndNotAtPlaces) {
  std::vector<TextFile> files = FilesOf(std::vector<int64_t>(100, 10));
  const std::vector<size_t> chosen = ChooseHeldOut(files, 0.2);
  EXPECT_EQ(chosen.size(), 20U);
  EXPECT_FALSE(std::is_sorted(chosen.begin(), chosen.end()));
  for (TextFile& file : files) file.path = "/elsewhere";
  EXPECT_EQ(ChooseHeldOut(files, 0.2), chosen);
  for (TextFile& file : files) file.name += "x";
  EXPECT_NE(ChooseHeldOut(files, 0.2), chosen);
}

}  // namespace
}  // namespace annulus::runtime
