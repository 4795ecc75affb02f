#include "runtime/config/parse.h"

#include <algorithm>
#include <boost/program_options.hpp>
#include <filesystem>
#include <map>

#include "kernels/base/error.h"
#include "runtime/config/ini.h"
#include "runtime/config/nearest.h"
#include "runtime/config/option_types.h"

namespace annulus::runtime {
namespace {

namespace po = boost::program_options;

// Sources of options, weakest first.
enum Source { kDefault, kFile, kCommandLine };

// A configuration under construction.
struct Draft {
  RunConfig config;
  std::map<std::string, Source, std::less<>> source;  // of the options given

  Source SourceOf(std::string_view key) const {
    const auto found = source.find(key);
    return found == source.end() ? kDefault : found->second;
  }

  void Set(const Option& option, std::string_view value, std::string_view place, Source from) {
    // Options that may be empty are so by default.
    if (value.empty() && !option.get(RunConfig()).empty()) {
      ThrowConfigError("{}: the value is missing; write {}", place, option.unit);
    }
    option.set(config, value, place);
    source[option.key] = from;
  }
};

std::vector<std::string> Keys(const std::function<bool(const Option&)>& wanted) {
  std::vector<std::string> keys;
  for (const Option& option : Options()) {
    if (wanted(option)) keys.push_back(option.key);
  }
  return keys;
}

bool MayBeInFile(const Option& option) { return option.in_file; }

void CheckSection(const IniEntry& header, std::string_view name) {
  std::vector<std::string> sections;
  for (const Option& option : Options()) sections.emplace_back(option.section());
  sections.erase(std::remove(sections.begin(), sections.end(), ""), sections.end());
  if (std::find(sections.begin(), sections.end(), header.section) != sections.end()) return;
  ThrowConfigError("{}:{}: there is no section [{}]; did you mean [{}]?", name, header.line,
                   header.section, Nearest(header.section, sections));
}

void ApplyIni(const std::vector<IniEntry>& entries, std::string_view name, Draft& draft) {
  std::map<std::string, int> lines;
  for (const IniEntry& entry : entries) {
    if (entry.key.empty()) {
      CheckSection(entry, name);
      continue;
    }
    const std::string key = entry.FullKey();
    const std::string place = fmt::format("{}:{}: {}", name, entry.line, key);
    const Option* option = FindOption(key);
    if (option == nullptr) {
      ThrowConfigError("{} is not an option; did you mean {}?", place,
                       Nearest(key, Keys(MayBeInFile)));
    }
    if (!option->in_file) {
      ThrowConfigError("{} belongs on the command line, as --{} {}", place, key, option->unit);
    }
    const auto [first, is_new] = lines.emplace(key, entry.line);
    if (!is_new) ThrowConfigError("{} was already given in line {}", place, first->second);
    draft.Set(*option, entry.value, place, kFile);
  }
}

// Long options only, never abbreviated: an abbreviation would change its meaning as options grow.
po::parsed_options Tokenize(std::span<const std::string> arguments) {
  po::options_description known;
  for (const Option& option : Options()) {
    known.add_options()(option.key.c_str(), po::value<std::string>());
  }
  using Style = po::command_line_style::style_t;
  constexpr int kStyle = Style::allow_long | Style::long_allow_adjacent | Style::long_allow_next;
  try {
    return po::command_line_parser(std::vector<std::string>(arguments.begin(), arguments.end()))
        .options(known)
        .style(kStyle)
        .allow_unregistered()
        .run();
  } catch (const po::error_with_option_name& error) {
    const std::string written = error.get_option_name();
    const std::string key =
        written.substr(std::min(written.find_first_not_of('-'), written.size()));
    const Option* option = FindOption(key);
    ThrowConfigError("{}: the value is missing{}", key,
                     option == nullptr ? "" : "; write --" + key + " " + option->unit);
  }
}

const Option& Known(const po::option& token, const OptionSet& set) {
  if (token.position_key >= 0 || token.string_key.empty()) {
    ThrowConfigError("'{}' is not an option; write --NAME VALUE (see annulus {} --help)",
                     token.original_tokens.at(0), set.command);
  }
  const auto taken = [&set](const Option& option) { return set.Takes(option); };
  const Option* option = FindOption(token.string_key);
  if (option == nullptr) {
    ThrowConfigError("--{} is not an option; did you mean --{}?", token.string_key,
                     Nearest(token.string_key, Keys(taken)));
  }
  if (!set.Takes(*option)) {
    ThrowConfigError("annulus {} takes no --{} (see annulus {} --help)", set.command, option->key,
                     set.command);
  }
  return *option;
}

void ApplyCommandLine(const po::parsed_options& tokens, const OptionSet& set, Draft& draft) {
  for (const po::option& token : tokens.options) {
    const Option& option = Known(token, set);
    if (draft.SourceOf(option.key) == kCommandLine) {
      ThrowConfigError("{} is given twice on the command line", option.key);
    }
    const std::string value = token.value.empty() ? "" : token.value.at(0);
    if (value.starts_with("--")) {
      ThrowConfigError("{}: the value is missing; write --{} {}", option.key, option.key,
                       option.unit);
    }
    draft.Set(option, value, option.key, kCommandLine);
  }
}

// Sets `field` to what the schedule implies, unless the user said otherwise.
void Settle(const Draft& draft, std::string_view key, std::string_view of_schedule, int64_t implied,
            int64_t& field) {
  if (field != implied && draft.SourceOf(key) >= draft.SourceOf("train.context_schedule") &&
      draft.SourceOf(key) != kDefault) {
    ThrowConfigError("{} = {}, but {} of train.context_schedule is {}; leave one of them out", key,
                     field, of_schedule, implied);
  }
  field = implied;
}

void SettleSchedule(Draft& draft) {
  TrainOptions& train = draft.config.train;
  if (train.context_schedule.empty()) return;
  int64_t steps = 0;
  for (const ContextPhase& phase : train.context_schedule) {
    steps += phase.steps;
    if (steps > kMostCounted) {
      ThrowConfigError("train.context_schedule: more than {} steps", kMostCounted);
    }
  }
  Settle(draft, "train.steps", "the sum of the steps", steps, train.steps);
  Settle(draft, "train.sequence_length", "the last length", train.context_schedule.back().length,
         train.sequence_length);
}

}  // namespace

bool OptionSet::Takes(const Option& option) const {
  if (option.key == "config") return true;
  return std::any_of(groups.begin(), groups.end(), [&option](std::string_view group) {
    return group == option.key || (group == option.section() && !group.empty());
  });
}

RunConfig ParseArguments(std::span<const std::string> arguments, const OptionSet& set) {
  const po::parsed_options tokens = Tokenize(arguments);
  Draft command_line;  // by itself it says which file to read first
  ApplyCommandLine(tokens, set, command_line);
  Draft draft;
  const std::string& file = command_line.config.config;
  if (!file.empty()) ApplyIni(ReadIni(file), file, draft);
  ApplyCommandLine(tokens, set, draft);
  SettleSchedule(draft);
  return draft.config;
}

RunConfig ParseIniConfig(std::string_view text, std::string_view name) {
  Draft draft;
  ApplyIni(ParseIni(text, name), name, draft);
  SettleSchedule(draft);
  return draft.config;
}

std::string OutputDirectory(const RunConfig& config) {
  if (!config.output.empty()) return config.output;
  if (config.config.empty()) return "runs/default";
  return (std::filesystem::path("runs") / std::filesystem::path(config.config).stem()).string();
}

}  // namespace annulus::runtime
