// docs/options.md against the table of options: the same options, values, defaults and meanings.
#include <gtest/gtest.h>

#include <fstream>
#include <set>
#include <string>

#include "runtime/config/options.h"

namespace annulus::runtime {
namespace {

// The rows of the page's tables: lines that begin with an option in backticks.
std::set<std::string> RowsOfPage() {
  std::ifstream page(ANNULUS_DOCS "/options.md");
  EXPECT_TRUE(page.is_open());
  std::set<std::string> rows;
  for (std::string line; std::getline(page, line);) {
    if (!line.starts_with("| `")) continue;
    EXPECT_TRUE(rows.insert(line).second) << "twice: " << line;
  }
  return rows;
}

// A bar would end the cell.
std::string Escaped(const std::string& text) {
  std::string cell;
  for (const char c : text) {
    if (c == '|') cell += '\\';
    cell += c;
  }
  return cell;
}

std::string RowOf(const Option& option) {
  const std::string value = option.get(RunConfig());
  return fmt::format("| `{}` | {} | {} | {} |", option.key, Escaped(option.unit),
                     value.empty() ? "" : fmt::format("`{}`", value), Escaped(option.help));
}

TEST(OptionsPage, HasARowForEveryOption) {
  const std::set<std::string> rows = RowsOfPage();
  for (const Option& option : Options()) {
    EXPECT_TRUE(rows.contains(RowOf(option))) << "docs/options.md lacks\n" << RowOf(option);
  }
}

TEST(OptionsPage, HasNoOtherRow) {
  std::set<std::string> rows = RowsOfPage();
  for (const Option& option : Options()) rows.erase(RowOf(option));
  EXPECT_TRUE(rows.empty()) << "docs/options.md has\n" << *rows.begin();
}

}  // namespace
}  // namespace annulus::runtime
