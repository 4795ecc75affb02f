// For tests of error messages.
#pragma once

#include <gtest/gtest.h>

#include <string>

#include "kernels/base/error.h"

namespace annulus {

// What the Error says that `call` throws; fails the test where it throws none.
template <class Error = ConfigError, class Call>
std::string MessageOf(Call call) {
  try {
    call();
  } catch (const Error& error) {
    return error.what();
  }
  ADD_FAILURE() << "nothing was thrown";
  return {};
}

}  // namespace annulus
