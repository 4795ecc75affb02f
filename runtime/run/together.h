// What all ranks hear of each other: mistakes that one of them finds, so that none waits for a rank
// that gave up, and what each has to say.
#pragma once

#include <functional>
#include <nlohmann/json.hpp>
#include <vector>

#include "parallel/communicator.h"
#include "runtime/config/run_config.h"

namespace annulus::runtime {

// Runs `action` on every rank of `world`. When it throws ConfigError on any of them, every rank
// throws ConfigError with the message of the first such rank (naming it, where others had no
// complaint or another one). Other exceptions pass. Collective.
void TryTogether(parallel::Communicator& world, const std::function<void()>& action);

// Throws ConfigError on every rank when they were started with different configurations: the first
// option that differs, and both values. Collective.
void CheckSameConfiguration(parallel::Communicator& world, const RunConfig& config);

// Every rank's `own`, by rank. Collective.
std::vector<nlohmann::ordered_json> GatherJson(parallel::Communicator& world,
                                               const nlohmann::ordered_json& own);

}  // namespace annulus::runtime
