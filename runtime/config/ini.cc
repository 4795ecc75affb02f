#include "runtime/config/ini.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "kernels/base/error.h"

namespace annulus::runtime {
namespace {

constexpr std::string_view kBlank = " \t\r\v\f";
constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";

std::string_view Trim(std::string_view text) {
  const size_t first = text.find_first_not_of(kBlank);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(kBlank) - first + 1);
}

bool IsComment(std::string_view text) { return text.starts_with('#') || text.starts_with(';'); }

// Up to a comment that starts the text or follows white space.
std::string_view WithoutComment(std::string_view text) {
  for (size_t i = 0; i < text.size(); ++i) {
    const bool may_start = i == 0 || kBlank.find(text[i - 1]) != std::string_view::npos;
    if (may_start && IsComment(text.substr(i))) return Trim(text.substr(0, i));
  }
  return Trim(text);
}

// `text` starts with a quote; `place` is "file:line".
std::string Unquoted(std::string_view text, std::string_view place) {
  std::string value;
  for (size_t i = 1; i < text.size(); ++i) {
    if (text[i] == '"') {
      const std::string_view rest = Trim(text.substr(i + 1));
      if (!rest.empty() && !IsComment(rest)) {
        ThrowConfigError("{}: '{}' follows the closing quote", place, rest);
      }
      return value;
    }
    if (text[i] == '\\' && i + 1 < text.size()) ++i;
    value += text[i];
  }
  ThrowConfigError("{}: the closing quote of {} is missing", place, text);
}

// A line that is neither blank nor comment. A section line has an empty key.
IniEntry ParseLine(std::string_view line, const std::string& section, std::string_view place) {
  if (line.starts_with('[')) {
    const std::string_view header = WithoutComment(line);
    const std::string_view name = Trim(header.substr(1, std::max<size_t>(header.size(), 2) - 2));
    if (!header.ends_with(']') || name.empty() || name.find_first_of("[]") != name.npos) {
      ThrowConfigError("{}: '{}' is not a section; write [NAME]", place, header);
    }
    return {std::string(name), "", "", 0};
  }
  const size_t equals = line.find('=');
  const std::string_view key = Trim(line.substr(0, equals));
  if (equals == std::string_view::npos || key.empty()) {
    ThrowConfigError("{}: '{}' is neither a [section] nor KEY = VALUE", place, line);
  }
  const std::string_view value = Trim(line.substr(equals + 1));
  return {section, std::string(key),
          value.starts_with('"') ? Unquoted(value, place) : std::string(WithoutComment(value)), 0};
}

}  // namespace

std::vector<IniEntry> ParseIni(std::string_view text, std::string_view name) {
  if (text.starts_with(kByteOrderMark)) text.remove_prefix(kByteOrderMark.size());
  std::vector<IniEntry> entries;
  std::string section;
  for (int number = 1; !text.empty(); ++number) {
    const size_t end = text.find('\n');
    const std::string_view line = Trim(text.substr(0, end));
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    if (line.empty() || IsComment(line)) continue;
    IniEntry entry = ParseLine(line, section, fmt::format("{}:{}", name, number));
    entry.line = number;
    if (entry.key.empty()) section = entry.section;
    entries.push_back(std::move(entry));
  }
  return entries;
}

std::string ReadIniText(const std::string& path, std::string_view option) {
  std::error_code ignored;
  if (std::filesystem::is_directory(path, ignored)) {
    ThrowConfigError("{}: {} is a directory; name the INI file in it", option, path);
  }
  errno = 0;
  std::ifstream file(path, std::ios::binary);
  std::string text{std::istreambuf_iterator<char>(file), {}};
  if (!file) ThrowConfigError("{}: cannot read {}: {}", option, path, std::strerror(errno));
  if (text.find('\0') != std::string::npos) {
    ThrowConfigError("{}: {} is not a text file", option, path);
  }
  return text;
}

std::vector<IniEntry> ReadIni(const std::string& path) {
  return ParseIni(ReadIniText(path, "config"), path);
}

std::string QuotedIniValue(std::string_view value) {
  const bool plain = Trim(value) == value && value.find_first_of("\"#;") == std::string_view::npos;
  if (plain) return std::string(value);
  std::string quoted = "\"";
  for (char c : value) {
    if (c == '"' || c == '\\') quoted += '\\';
    quoted += c;
  }
  return quoted + '"';
}

}  // namespace annulus::runtime
