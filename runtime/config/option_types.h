// What kinds of values options have. A type parses text, checks the range and renders:
//   Value Parse(text, place) const;  std::string Render(const Value&) const;  std::string Unit()
//   const;
#pragma once

#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "kernels/base/error.h"
#include "runtime/config/value_text.h"

namespace annulus::runtime {

// The most of anything counted: small enough that the products of two counts fit int64_t.
inline constexpr int64_t kMostCounted = int64_t{1} << 31;

// low <= value <= high.
template <class T>
struct Whole {
  std::string unit;
  T low;
  T high;

  T Parse(std::string_view text, std::string_view place) const {
    const T value = ParseWhole<T>(text, place);
    if (value < low || value > high) {
      ThrowConfigError("{}: {} is out of range: {} to {}", place, value, low, high);
    }
    return value;
  }
  std::string Render(T value) const { return fmt::format("{}", value); }
  std::string Unit() const { return unit; }
};

inline Whole<int64_t> Count(std::string unit, int64_t low, int64_t high = kMostCounted) {
  return {std::move(unit), low, high};
}

// low <= value < below, or low < value < below.
struct Real {
  std::string unit;
  double low = 0;
  bool may_be_low = true;
  double below = std::numeric_limits<double>::infinity();

  double Parse(std::string_view text, std::string_view place) const {
    const double value = ParseReal(text, place);
    if (value < low || (value == low && !may_be_low) || value >= below) {
      ThrowConfigError("{}: {} is out of range: {}{}", place, text,
                       may_be_low ? fmt::format("{} or more", low) : fmt::format("above {}", low),
                       below < std::numeric_limits<double>::infinity()
                           ? fmt::format(" and below {}", below)
                           : "");
    }
    return value;
  }
  std::string Render(double value) const { return RenderReal(value); }
  std::string Unit() const { return unit; }
};

inline Real Positive(std::string unit) { return {.unit = std::move(unit), .may_be_low = false}; }
inline Real AtLeast(std::string unit, double low) { return {.unit = std::move(unit), .low = low}; }
inline Real NotNegative(std::string unit) { return {.unit = std::move(unit)}; }
inline Real Fraction(std::string unit) { return {.unit = std::move(unit), .below = 1}; }

struct Bool {
  bool Parse(std::string_view text, std::string_view place) const { return ParseBool(text, place); }
  std::string Render(bool value) const { return value ? "true" : "false"; }
  std::string Unit() const { return "true|false"; }
};

struct Bytes {
  int64_t Parse(std::string_view text, std::string_view place) const {
    const int64_t bytes = ParseBytes(text, place);
    if (bytes < 0) ThrowConfigError("{}: {} is out of range: 0 or more", place, text);
    return bytes;
  }
  std::string Render(int64_t bytes) const { return RenderBytes(bytes); }
  std::string Unit() const { return "BYTES"; }
};

struct Text {
  std::string unit;

  std::string Parse(std::string_view text, std::string_view place) const {
    return ParseText(text, place);
  }
  std::string Render(const std::string& value) const { return value; }
  std::string Unit() const { return unit; }
};

struct Schedule {
  std::vector<ContextPhase> Parse(std::string_view text, std::string_view place) const {
    std::vector<ContextPhase> schedule = ParseSchedule(text, place);
    for (const ContextPhase& phase : schedule) {
      for (int64_t value : {phase.length, phase.steps}) {
        if (value >= 1 && value <= kMostCounted) continue;
        ThrowConfigError("{}: {} is out of range: 1 to {}", place, value, kMostCounted);
      }
    }
    return schedule;
  }
  std::string Render(const std::vector<ContextPhase>& schedule) const {
    return RenderSchedule(schedule);
  }
  std::string Unit() const { return "LENGTH:STEPS,..."; }
};

// One name of an enumeration's value.
template <class T>
struct Choice {
  std::string_view name;
  T value;
};

template <class T>
struct Names {
  std::vector<Choice<T>> choices;

  T Parse(std::string_view text, std::string_view place) const {
    for (const Choice<T>& choice : choices) {
      if (choice.name == text) return choice.value;
    }
    ThrowConfigError("{}: '{}' is unknown; valid: {}", place, text, Valid(", "));
  }
  std::string Render(T value) const {
    for (const Choice<T>& choice : choices) {
      if (choice.value == value) return std::string(choice.name);
    }
    throw InternalError("an option holds a value that has no name");
  }
  std::string Unit() const { return Valid("|"); }

 private:
  std::string Valid(std::string_view separator) const {
    std::string names;
    for (const Choice<T>& choice : choices) {
      names += fmt::format("{}{}", names.empty() ? "" : separator, choice.name);
    }
    return names;
  }
};

// One or more different values of another type, with commas between.
template <class Item>
struct ListOf {
  Item item;

  auto Parse(std::string_view text, std::string_view place) const {
    std::vector<decltype(item.Parse(text, place))> values;
    for (const std::string_view part : SplitAtCommas(text)) {
      auto value = item.Parse(part, place);
      for (const auto& earlier : values) {
        if (earlier == value) ThrowConfigError("{}: {} is given twice", place, part);
      }
      values.push_back(std::move(value));
    }
    return values;
  }
  template <class Value>
  std::string Render(const std::vector<Value>& values) const {
    std::string text;
    for (const Value& value : values) {
      text += fmt::format("{}{}", text.empty() ? "" : ",", item.Render(value));
    }
    return text;
  }
  std::string Unit() const { return item.Unit() + ",..."; }
};
template <class Item>
ListOf(Item) -> ListOf<Item>;

}  // namespace annulus::runtime
