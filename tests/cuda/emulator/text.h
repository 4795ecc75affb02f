// Text in printf's format.
#pragma once

#include <string>

namespace annulus::emulator {

std::string Text(const char* format, ...) __attribute__((format(printf, 1, 2)));

}  // namespace annulus::emulator
