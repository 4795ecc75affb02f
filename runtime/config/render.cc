#include "runtime/config/render.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <sstream>
#include <vector>

#include "runtime/config/ini.h"

namespace annulus::runtime {
namespace {

constexpr size_t kHelpColumns = 100;

std::string Heading(const Option& option) {
  return fmt::format("  --{} {}", option.key, option.unit);
}

// The words of the description; the default is one word, so that no line ends inside it.
std::vector<std::string> Description(const Option& option) {
  std::vector<std::string> words;
  std::istringstream help(option.help);
  for (std::string word; help >> word;) words.push_back(word);
  const std::string value = option.get(RunConfig());
  if (!value.empty()) words.push_back(fmt::format("(default {})", value));
  return words;
}

// Lines of at most `width` columns, each but the first after `indent` blanks.
std::string Wrapped(const std::vector<std::string>& words, size_t indent, size_t width) {
  std::string text;
  size_t column = 0;
  for (const std::string& word : words) {
    if (column > 0 && column + 1 + word.size() > width) {
      text += fmt::format("\n{:{}}", "", indent);
      column = 0;
    } else if (column > 0) {
      text += ' ';
      ++column;
    }
    text += word;
    column += word.size();
  }
  return text;
}

std::map<std::string, std::string> Values(const std::vector<IniEntry>& entries) {
  std::map<std::string, std::string> values;
  for (const IniEntry& entry : entries) {
    if (!entry.key.empty()) values[entry.FullKey()] = entry.value;
  }
  return values;
}

}  // namespace

std::string ResolvedIni(const RunConfig& config) {
  std::string text;
  std::string_view section;
  for (const Option& option : Options()) {
    if (!option.in_file) continue;
    if (option.section() != section) {
      section = option.section();
      text += fmt::format("\n[{}]\n", section);
    }
    const std::string value = QuotedIniValue(option.get(config));
    text += fmt::format("{} ={}{}\n", option.name(), value.empty() ? "" : " ", value);
  }
  return text;
}

std::optional<Difference> FirstDifference(std::string_view first, std::string_view second) {
  const std::vector<IniEntry> entries = ParseIni(first, "first");
  std::map<std::string, std::string> others = Values(ParseIni(second, "second"));
  for (const IniEntry& entry : entries) {
    if (entry.key.empty()) continue;
    const std::string key = entry.FullKey();
    if (others[key] != entry.value) return Difference{key, entry.value, others[key]};
    others.erase(key);
  }
  if (others.empty()) return std::nullopt;
  return Difference{others.begin()->first, "", others.begin()->second};
}

std::string OptionsHelp(const OptionSet& set) {
  size_t indent = 0;
  for (const Option& option : Options()) {
    if (set.Takes(option)) indent = std::max(indent, Heading(option).size() + 2);
  }
  std::string text;
  std::string_view section;
  for (const Option& option : Options()) {
    if (!set.Takes(option)) continue;
    if (option.section() != section) {
      section = option.section();
      text += fmt::format("\n[{}]\n", section);
    }
    text += fmt::format("{:<{}}{}\n", Heading(option), indent,
                        Wrapped(Description(option), indent, kHelpColumns - indent));
  }
  return text;
}

}  // namespace annulus::runtime
