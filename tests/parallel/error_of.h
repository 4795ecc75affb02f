// How a body ends.
#pragma once

#include <exception>
#include <functional>
#include <string>

namespace annulus::parallel {

// The message of the Error that `body` ends with.
template <class Error>
std::string ErrorOf(const std::function<void()>& body) {
  try {
    body();
  } catch (const Error& error) {
    return error.what();
  } catch (const std::exception& error) {
    return std::string("another exception: ") + error.what();
  }
  return "no exception";
}

}  // namespace annulus::parallel
