#include "runtime/config/value_text.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>

#include "kernels/base/error.h"

namespace annulus::runtime {
namespace {

constexpr std::string_view kByteSuffixes = "KMGT";

}  // namespace

template <class T>
T ParseWhole(std::string_view text, std::string_view place) {
  T value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  const bool whole = end == text.data() + text.size();
  if (error == std::errc::result_out_of_range && whole) {
    ThrowConfigError("{}: {} is out of range: {} to {}", place, text, std::numeric_limits<T>::min(),
                     std::numeric_limits<T>::max());
  }
  if (error != std::errc() || !whole) {
    ThrowConfigError("{}: '{}' is not a whole number{}", place, text,
                     std::is_unsigned_v<T> && text.starts_with('-') ? " of 0 or more" : "");
  }
  return value;
}

template int ParseWhole<int>(std::string_view, std::string_view);
template int64_t ParseWhole<int64_t>(std::string_view, std::string_view);
template uint64_t ParseWhole<uint64_t>(std::string_view, std::string_view);

double ParseReal(std::string_view text, std::string_view place) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || !std::isfinite(value)) {
    ThrowConfigError("{}: '{}' is not a finite number", place, text);
  }
  return value;
}

std::string RenderReal(double value) { return fmt::format("{}", value); }

bool ParseBool(std::string_view text, std::string_view place) {
  if (text != "true" && text != "false") {
    ThrowConfigError("{}: '{}' is neither true nor false", place, text);
  }
  return text == "true";
}

int64_t ParseBytes(std::string_view text, std::string_view place) {
  const size_t suffix = text.empty() ? std::string_view::npos : kByteSuffixes.find(text.back());
  if (suffix == std::string_view::npos) {
    int64_t bytes = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), bytes);
    if (error == std::errc() && end == text.data() + text.size()) return bytes;
    ThrowConfigError("{}: '{}' is not a number of bytes, as in 4096, 512M or 1.5G", place, text);
  }
  double count = 0;
  const char* last = text.data() + text.size() - 1;
  const auto [end, error] = std::from_chars(text.data(), last, count, std::chars_format::fixed);
  const double bytes = std::ldexp(count, 10 * static_cast<int>(suffix + 1));
  if (error != std::errc() || end != last || !(std::abs(bytes) < 0x1p63)) {
    ThrowConfigError("{}: '{}' is not a number of bytes, as in 4096, 512M or 1.5G", place, text);
  }
  return static_cast<int64_t>(bytes);
}

std::string RenderBytes(int64_t bytes) {
  size_t suffix = 0;  // one past the suffix in use
  while (bytes != 0 && bytes % 1024 == 0 && suffix < kByteSuffixes.size()) {
    bytes /= 1024;
    ++suffix;
  }
  return suffix == 0 ? fmt::format("{}", bytes)
                     : fmt::format("{}{}", bytes, kByteSuffixes[suffix - 1]);
}

std::vector<ContextPhase> ParseSchedule(std::string_view text, std::string_view place) {
  const std::string_view whole = text;
  std::vector<ContextPhase> schedule;
  while (!text.empty()) {
    const size_t comma = text.find(',');
    const std::string_view phase = text.substr(0, comma);
    const size_t colon = phase.find(':');
    if (colon == std::string_view::npos || comma == text.size() - 1) {
      ThrowConfigError("{}: '{}' is not LENGTH:STEPS,..., as in 512:100,2048:20", place, whole);
    }
    schedule.push_back({ParseWhole<int64_t>(phase.substr(0, colon), place),
                        ParseWhole<int64_t>(phase.substr(colon + 1), place)});
    text.remove_prefix(comma == std::string_view::npos ? text.size() : comma + 1);
  }
  return schedule;
}

std::string RenderSchedule(const std::vector<ContextPhase>& schedule) {
  std::string text;
  for (const ContextPhase& phase : schedule) {
    text += fmt::format("{}{}:{}", text.empty() ? "" : ",", phase.length, phase.steps);
  }
  return text;
}

std::vector<std::string_view> SplitAtCommas(std::string_view text) {
  std::vector<std::string_view> parts;
  if (text.empty()) return parts;
  for (size_t begin = 0, comma = 0; comma != std::string_view::npos; begin = comma + 1) {
    comma = text.find(',', begin);
    parts.push_back(text.substr(begin, comma - begin));
  }
  return parts;
}

std::string ParseText(std::string_view text, std::string_view place) {
  const auto control = [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7F; };
  if (std::any_of(text.begin(), text.end(), control)) {
    ThrowConfigError("{}: the value holds a control character", place);
  }
  return std::string(text);
}

}  // namespace annulus::runtime
