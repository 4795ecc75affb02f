// What this build is.
#pragma once

#include <string_view>

namespace annulus::runtime {

std::string_view Version();    // as in "0.1.0"
std::string_view BuildType();  // as in "Release"

}  // namespace annulus::runtime
