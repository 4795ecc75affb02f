#include "runtime/config/nearest.h"

#include <algorithm>
#include <numeric>
#include <vector>

namespace annulus::runtime {
namespace {

// Levenshtein's distance.
size_t EditDistance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), size_t{0});
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t replace = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({replace, row[j] + 1, row[j - 1] + 1});
    }
  }
  return row.back();
}

std::string_view LastPart(std::string_view name) { return name.substr(name.rfind('.') + 1); }

}  // namespace

std::string Nearest(std::string_view unknown, std::span<const std::string> names) {
  const auto distance = [unknown](const std::string& name) {
    return std::min(EditDistance(unknown, name),
                    EditDistance(LastPart(unknown), LastPart(name)) + 1);
  };
  return *std::min_element(
      names.begin(), names.end(),
      [&](const std::string& a, const std::string& b) { return distance(a) < distance(b); });
}

}  // namespace annulus::runtime
