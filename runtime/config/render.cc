#include "runtime/config/render.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "runtime/config/ini.h"

namespace annulus::runtime {
namespace {

constexpr size_t kHelpColumns = 100;

std::string Heading(const Option& option) {
  return fmt::format("  --{} {}", option.key, option.unit);
}

std::string Description(const Option& option) {
  const std::string value = option.get(RunConfig());
  return value.empty() ? option.help : fmt::format("{} (default {})", option.help, value);
}

// `text` broken at spaces into lines of at most `width`, each but the first after `indent` blanks.
std::string Wrapped(std::string_view text, size_t indent, size_t width) {
  std::string lines;
  while (text.size() > width) {
    size_t end = text.rfind(' ', width);
    if (end == std::string_view::npos) end = text.find(' ');
    if (end == std::string_view::npos) break;
    lines += fmt::format("{}\n{:{}}", text.substr(0, end), "", indent);
    text.remove_prefix(end + 1);
  }
  return lines + std::string(text);
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
