#include "tests/cuda/emulator/options.h"

#include <cstdlib>
#include <sstream>
#include <stdexcept>

#include "tests/cuda/emulator/counters.h"

namespace annulus::emulator {
namespace {

Effect EffectNamed(const std::string& name) {
  if (name == "lazy") return Effect::kLazy;
  if (name == "eager") return Effect::kEager;
  if (name == "random") return Effect::kRandom;
  throw std::invalid_argument("emulator: no effect " + name + ": lazy, eager or random");
}

Schedule ScheduleNamed(const std::string& name) {
  if (name == "inorder") return Schedule::kInOrder;
  if (name == "priority") return Schedule::kPriority;
  if (name == "random") return Schedule::kRandom;
  throw std::invalid_argument("emulator: no schedule " + name + ": inorder, priority or random");
}

void Set(Options& options, const std::string& key, const std::string& value) {
  if (key == "schedule") {
    options.schedule = ScheduleNamed(value);
  } else if (key == "copies") {
    options.copies = EffectNamed(value);
  } else if (key == "streams") {
    options.streams = EffectNamed(value);
  } else if (key == "blocks") {
    options.shuffle_blocks = value == "shuffled";
  } else if (key == "seed") {
    options.seed = std::stoull(value);
    for (auto& launches : launches_of_device) launches = 0;
  } else if (key == "races") {
    options.detect_races = value != "off";
  } else if (key == "preempt") {
    options.preempt_one_in = std::stoi(value);
  } else if (key == "devices") {
    options.devices = std::stoi(value);
  } else if (key == "capability") {
    options.capability = std::stoi(value);
  } else if (key == "memory_mib") {
    options.device_memory_bytes = std::stoll(value) << 20;
  } else {
    throw std::invalid_argument("emulator: no option " + key);
  }
}

void Apply(Options& options, const std::string& settings) {
  std::istringstream words(settings);
  for (std::string word; words >> word;) {
    const size_t equals = word.find('=');
    if (equals == std::string::npos) throw std::invalid_argument("emulator: " + word + " has no =");
    Set(options, word.substr(0, equals), word.substr(equals + 1));
  }
}

Options FromEnvironment() {
  Options options;
  const char* settings = std::getenv("ANNULUS_EMULATOR");
  if (settings != nullptr) Apply(options, settings);
  return options;
}

}  // namespace

Options& TheOptions() {
  static Options options = FromEnvironment();
  return options;
}

void SetOptions(const std::string& settings) { Apply(TheOptions(), settings); }

void ForEachSchedule(int seeds, const std::function<void(const std::string& told)>& run) {
  const Options before = TheOptions();
  auto run_with = [&](const std::string& told) {
    TheOptions() = before;
    SetOptions(told);
    run(told);
  };
  run_with("schedule=inorder copies=lazy streams=lazy");
  run_with("schedule=priority copies=eager streams=eager");
  for (int s = 0; s < seeds; ++s) {
    run_with("schedule=random copies=random streams=random blocks=shuffled seed=" +
             std::to_string(before.seed + static_cast<uint64_t>(s)));
  }
  TheOptions() = before;
}

}  // namespace annulus::emulator
