#include "runtime/run/together.h"

#include <algorithm>
#include <string>
#include <vector>

#include "kernels/base/error.h"
#include "runtime/config/render.h"

namespace annulus::runtime {

void TryTogether(parallel::Communicator& world, const std::function<void()>& action) {
  std::string complaint;
  try {
    action();
  } catch (const ConfigError& error) {
    complaint = error.what();
  }
  const std::vector<std::string> complaints = world.AllGatherText(complaint);
  const auto first = std::find_if(complaints.begin(), complaints.end(),
                                  [](const std::string& c) { return !c.empty(); });
  if (first == complaints.end()) return;
  const bool unanimous = std::all_of(complaints.begin(), complaints.end(),
                                     [&](const std::string& c) { return c == *first; });
  if (unanimous) throw ConfigError(*first);
  ThrowConfigError("rank {}: {}", first - complaints.begin(), *first);
}

void CheckSameConfiguration(parallel::Communicator& world, const RunConfig& config) {
  const std::vector<std::string> all = world.AllGatherText(ResolvedIni(config));
  for (size_t rank = 1; rank < all.size(); ++rank) {
    if (const auto difference = FirstDifference(all.front(), all[rank])) {
      ThrowConfigError(
          "rank 0 was started with {} = '{}' and rank {} with '{}': start all ranks with the same "
          "configuration",
          difference->key, difference->first, rank, difference->second);
    }
  }
}

std::vector<nlohmann::ordered_json> GatherJson(parallel::Communicator& world,
                                               const nlohmann::ordered_json& own) {
  std::vector<nlohmann::ordered_json> all;
  for (const std::string& text : world.AllGatherText(own.dump())) {
    all.push_back(nlohmann::ordered_json::parse(text));
  }
  return all;
}

}  // namespace annulus::runtime
