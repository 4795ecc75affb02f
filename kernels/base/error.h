// Errors of annulus, by who can mend them. Only main catches: it logs, aborts the group and exits.
#pragma once

#include <fmt/format.h>

#include <stdexcept>
#include <string>
#include <utility>

namespace annulus {

// Something the user said is wrong: an option, a file, a launch. The message says what is wrong and
// what would be right. Exit status 2.
class ConfigError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// A device, network or file call failed. The message carries rank, call and place. Exit status 3.
class SystemError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// A contract between two parts of annulus is broken: a bug here. Exit status 4.
class InternalError : public std::logic_error {
 public:
  using std::logic_error::logic_error;
};

template <class... Args>
[[noreturn]] void ThrowConfigError(fmt::format_string<Args...> format, Args&&... args) {
  throw ConfigError(fmt::format(format, std::forward<Args>(args)...));
}

template <class... Args>
[[noreturn]] void ThrowSystemError(fmt::format_string<Args...> format, Args&&... args) {
  throw SystemError(fmt::format(format, std::forward<Args>(args)...));
}

// Checks a contract between parts of annulus, in every build type. Throws InternalError.
template <class... Args>
void Check(bool condition, fmt::format_string<Args...> format, Args&&... args) {
  if (!condition) [[unlikely]] {
    throw InternalError(fmt::format(format, std::forward<Args>(args)...));
  }
}

}  // namespace annulus
