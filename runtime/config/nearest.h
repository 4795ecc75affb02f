// Suggestions for names that are not known.
#pragma once

#include <span>
#include <string>
#include <string_view>

namespace annulus::runtime {

// What `unknown` most likely was meant to be, by edit distance. A name whose last part (after its
// last dot) fits is near even where the parts before differ. Requires at least one name.
std::string Nearest(std::string_view unknown, std::span<const std::string> names);

}  // namespace annulus::runtime
