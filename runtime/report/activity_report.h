// Reports of what each rank did with its time.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "runtime/train/activity.h"

namespace annulus::runtime {

nlohmann::ordered_json ToJson(const RankActivity& activity);
RankActivity RankActivityFromJson(const nlohmann::ordered_json& json);

// For people: a row for each rank, and one for each step of the schedule (means and the longest
// wait over ranks). Empty for one rank.
std::string ActivityTable(const std::vector<RankActivity>& ranks);

// communication.json.
nlohmann::ordered_json ActivityJson(const std::vector<RankActivity>& ranks);

}  // namespace annulus::runtime
