// Numbers and tables for people to read. Machines read metrics.jsonl and the --json files instead.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace annulus::runtime {

// "0 B", "1,023 B", "1.50 GiB": binary units, two decimals past 1 KiB.
std::string FormatBytes(int64_t bytes);

// "1,234,567".
std::string FormatCount(int64_t count);

// "950 ns", "12.3 us", "1.50 ms", "59.9 s", "1 m 23 s", "2 h 05 m", "3 d 04 h". Seconds; "n/a" when
// not finite.
std::string FormatDuration(double seconds);

// Three digits and a decimal prefix: FormatRate(1.234e9, "FLOP/s") is "1.23 GFLOP/s". "n/a UNIT"
// when not finite.
std::string FormatRate(double per_second, std::string_view unit);

enum class Align : uint8_t { kLeft, kRight };

// Columns padded to their widest cell, two blanks apart, under a header line. Cells are UTF-8;
// their width is counted in code points.
class TextTable {
 public:
  struct Column {
    std::string title;
    Align align = Align::kLeft;
  };

  explicit TextTable(std::vector<Column> columns) : columns_(std::move(columns)) {}

  // Requires one cell per column.
  void AddRow(std::vector<std::string> cells);

  // Header, rule and rows, each line ended by '\n' and without blanks before it.
  std::string ToString() const;

 private:
  std::vector<Column> columns_;
  std::vector<std::vector<std::string>> rows_;
};

}  // namespace annulus::runtime
