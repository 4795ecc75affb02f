#include "runtime/bench/bench_threads.h"

#include <fmt/format.h>

namespace annulus::runtime {

std::string ThreadsText(int threads) {
  if (threads == kOnDevice) return "a device";
  return fmt::format("{} thread{}", threads, threads == 1 ? "" : "s");
}

std::string RanksText(int ranks, int threads) {
  return fmt::format("{} rank{} {}", ranks, ranks == 1 ? "" : "s",
                     threads == kOnDevice ? "on devices" : "of " + ThreadsText(threads));
}

nlohmann::ordered_json ThreadsJson(int threads) {
  return threads == kOnDevice ? nlohmann::ordered_json(nullptr) : nlohmann::ordered_json(threads);
}

}  // namespace annulus::runtime
