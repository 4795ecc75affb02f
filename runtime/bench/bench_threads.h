// The threads that a figure was measured with. A device has none that could be counted.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

namespace annulus::runtime {

// Stands in their place for a device.
inline constexpr int kOnDevice = 0;

// As in "1 thread", "2 threads", "a device".
std::string ThreadsText(int threads);
// As in "1 rank of 2 threads", "3 ranks on devices".
std::string RanksText(int ranks, int threads);

// Their number; null on a device.
nlohmann::ordered_json ThreadsJson(int threads);

}  // namespace annulus::runtime
