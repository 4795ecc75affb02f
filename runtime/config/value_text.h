// Values of options as text, both ways.
//
// Every Parse function takes the whole of `text` or throws a ConfigError that starts with `place`,
// which names the option and, for a file, the line. Every Render gives text that parses back.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/config/run_config.h"

namespace annulus::runtime {

// T is int64_t, uint64_t or int.
template <class T>
T ParseWhole(std::string_view text, std::string_view place);

// Finite; "1e-3" and "0.001" are the same.
double ParseReal(std::string_view text, std::string_view place);
// The shortest text of the same value.
std::string RenderReal(double value);

// "true" or "false".
bool ParseBool(std::string_view text, std::string_view place);

// Bytes, as in 4096, 512M, 1.5G: K, M, G and T are powers of 1024; rounded down to a whole byte.
int64_t ParseBytes(std::string_view text, std::string_view place);
std::string RenderBytes(int64_t bytes);

// LENGTH:STEPS,LENGTH:STEPS,... or nothing.
std::vector<ContextPhase> ParseSchedule(std::string_view text, std::string_view place);
std::string RenderSchedule(const std::vector<ContextPhase>& schedule);

// The parts between commas; none of no text.
std::vector<std::string_view> SplitAtCommas(std::string_view text);

// Free text such as a path. Throws where it holds a control character.
std::string ParseText(std::string_view text, std::string_view place);

}  // namespace annulus::runtime
