// A command that takes every option.
#pragma once

#include <string>
#include <vector>

#include "runtime/config/parse.h"

namespace annulus::runtime {

using Arguments = std::vector<std::string>;

inline const OptionSet kAll{
    "train",
    {"output", "ranks", "json", "svg", "machine", "trace", "model", "data", "train", "optimizer",
     "parallel", "attention", "memory", "device", "bench"}};

inline RunConfig Parse(const Arguments& arguments) { return ParseArguments(arguments, kAll); }

}  // namespace annulus::runtime
