// Numbers that would do, for messages that say so.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace annulus::parallel {

// Of `number` >= 1, ascending.
std::vector<int64_t> DivisorsOf(int64_t number);

// "1, 2, 3 or 6". Requires at least one number.
std::string Alternatives(const std::vector<int64_t>& numbers);

}  // namespace annulus::parallel
