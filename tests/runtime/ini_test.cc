#include "runtime/config/ini.h"

#include <gtest/gtest.h>

#include <cstdio>
#include <filesystem>
#include <fstream>

#include "tests/runtime/message_of.h"

namespace annulus::runtime {
namespace {

// The entries as "key=value", without the section lines.
std::vector<std::string> Entries(std::string_view text) {
  std::vector<std::string> entries;
  for (const IniEntry& entry : ParseIni(text, "f")) {
    if (!entry.key.empty()) entries.push_back(entry.FullKey() + "=" + entry.value);
  }
  return entries;
}

using Strings = std::vector<std::string>;

TEST(IniTest, ReadsSectionsAndEntries) {
  EXPECT_EQ(Entries("a=1\n[s]\nb = 2\n  c=3  \n[ t ]\nd=4"),
            (Strings{"a=1", "s.b=2", "s.c=3", "t.d=4"}));
  EXPECT_EQ(Entries(""), Strings{});
  EXPECT_EQ(Entries("[s]\nb =\n[t]\n[s]\nc = x = y"), (Strings{"s.b=", "s.c=x = y"}));
}

TEST(IniTest, CommentsNeedWhiteSpaceBeforeThem) {
  EXPECT_EQ(Entries("# one\n  ; two\na=1 # three\nb=2\t; four\nc=5;6#7\nd= # five\n[s] ; six\ne=8"),
            (Strings{"a=1", "b=2", "c=5;6#7", "d=", "s.e=8"}));
}

TEST(IniTest, QuotesKeepWhatIsInside) {
  EXPECT_EQ(Entries(R"(a = " x # y " ; z)"), Strings{"a= x # y "});
  EXPECT_EQ(Entries(R"(a = "say \"hi\" \\ \n")"), Strings{R"(a=say "hi" \ n)"});
  EXPECT_EQ(Entries(R"(a = it"s)"), Strings{R"(a=it"s)"});
  EXPECT_EQ(Entries(R"(a = "")"), Strings{"a="});
}

TEST(IniTest, AcceptsOtherSystemsLineEndsAndByteOrderMark) {
  EXPECT_EQ(Entries("\xEF\xBB\xBF[s]\r\na = 1\r\n\r\nb=2\r\n"), (Strings{"s.a=1", "s.b=2"}));
}

TEST(IniTest, CountsLinesFromOne) {
  const std::vector<IniEntry> entries = ParseIni("\n# c\n[s]\n\na=1\n", "f");
  ASSERT_EQ(entries.size(), 2u);
  EXPECT_EQ(entries[0].line, 3);
  EXPECT_EQ(entries[1].line, 5);
}

TEST(IniTest, NamesTheLineOfAMistake) {
  const auto message = [](std::string_view text) {
    return MessageOf([&] { ParseIni(text, "f.ini"); });
  };
  EXPECT_EQ(message("a=1\nsteps 100\n"),
            "f.ini:2: 'steps 100' is neither a [section] nor KEY = VALUE");
  EXPECT_EQ(message("= 3"), "f.ini:1: '= 3' is neither a [section] nor KEY = VALUE");
  EXPECT_EQ(message("[train"), "f.ini:1: '[train' is not a section; write [NAME]");
  EXPECT_EQ(message("["), "f.ini:1: '[' is not a section; write [NAME]");
  EXPECT_EQ(message("[]"), "f.ini:1: '[]' is not a section; write [NAME]");
  EXPECT_EQ(message("[a]b]"), "f.ini:1: '[a]b]' is not a section; write [NAME]");
  EXPECT_EQ(message("[a] b"), "f.ini:1: '[a] b' is not a section; write [NAME]");
  EXPECT_EQ(message("a = \"x"), "f.ini:1: the closing quote of \"x is missing");
  EXPECT_EQ(message("a = \"x\" y"), "f.ini:1: 'y' follows the closing quote");
}

TEST(IniTest, QuotedValuesReadBack) {
  for (const char* value : {"", "plain", "two words", " lead", "trail ", "a#b", "a ; b", "\"", "\\",
                            "a\\\"b", "a = b", "[x]", "\ttab"}) {
    EXPECT_EQ(Entries("a = " + QuotedIniValue(value)), Strings{std::string("a=") + value});
  }
  EXPECT_EQ(QuotedIniValue("runs/a b"), "runs/a b");
}

TEST(IniTest, SaysWhyAFileCannotBeRead) {
  EXPECT_EQ(MessageOf([] { ReadIni("/nonexistent/a.ini"); }),
            "config: cannot read /nonexistent/a.ini: No such file or directory");
  const std::string directory = testing::TempDir();
  EXPECT_EQ(MessageOf([&] { ReadIni(directory); }),
            "config: " + directory + " is a directory; name the INI file in it");
}

TEST(IniTest, RefusesABinaryFile) {
  const std::string path = testing::TempDir() + "ini_test_binary.ini";
  std::ofstream(path, std::ios::binary) << std::string("a=1\n\0", 5);
  EXPECT_EQ(MessageOf([&] { ReadIni(path); }), "config: " + path + " is not a text file");
  std::filesystem::remove(path);
}

TEST(IniTest, ReadsAFile) {
  const std::string path = testing::TempDir() + "ini_test_good.ini";
  std::ofstream(path) << "[s]\na = 1\n";
  const std::vector<IniEntry> entries = ReadIni(path);
  std::filesystem::remove(path);
  ASSERT_EQ(entries.size(), 2u);
  EXPECT_EQ(entries[1].FullKey(), "s.a");
}

}  // namespace
}  // namespace annulus::runtime
