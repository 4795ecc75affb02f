#include "tests/cuda/emulator/text.h"

#include <array>
#include <cstdarg>
#include <cstdio>

namespace annulus::emulator {

std::string Text(const char* format, ...) {
  std::array<char, 2048> text{};
  va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(text.data(), text.size(), format, arguments);
  va_end(arguments);
  return text.data();
}

}  // namespace annulus::emulator
