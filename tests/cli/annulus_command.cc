#include "tests/cli/annulus_command.h"

#include <algorithm>
#include <sstream>

namespace annulus::runtime {
namespace {

constexpr std::chrono::milliseconds kPatience = std::chrono::minutes(1);
constexpr std::string_view kPrefix = "annulus: error: ";

}  // namespace

Arguments Words(const std::string& text) {
  std::istringstream stream(text);
  Arguments words;
  for (std::string word; stream >> word;) words.push_back(word);
  return words;
}

Launcher Mpirun(int ranks) {
  return {{ANNULUS_MPIEXEC, ANNULUS_MPIEXEC_NUMPROC_FLAG, std::to_string(ranks)}, {}};
}

Variables CommonVariables() {
  return {{"OMP_WAIT_POLICY", "passive"},
          {"OMPI_ALLOW_RUN_AS_ROOT", "1"},
          {"OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1"},
          {"OMPI_MCA_rmaps_base_oversubscribe", "1"},
          {"OMPI_MCA_hwloc_base_binding_policy", "none"},
          // What the MPI libraries do not give back is theirs.
          {"ASAN_OPTIONS", "detect_leaks=0"}};
}

Outcome RunCommandLine(const Arguments& command, const Variables& variables) {
  Variables all = CommonVariables();
  all.insert(variables.begin(), variables.end());
  Process process(command, all);
  const std::optional<Outcome> outcome = process.Wait(kPatience);
  EXPECT_TRUE(outcome.has_value()) << "hangs";
  return outcome.value_or(Outcome{.status = -1});
}

Outcome RunAnnulus(const Arguments& arguments, const Launcher& launcher) {
  return RunCommandLine(launcher.command + Arguments{ANNULUS_PROGRAM} + arguments,
                        launcher.variables);
}

Arguments TinyModel(const std::string& options) {
  Arguments model = Words(
      "--data.synthetic recall --model.vocab_size 32 --model.hidden_size 16 "
      "--model.num_hidden_layers 2 --model.num_attention_heads 2 --model.intermediate_size 32 "
      "--train.sequence_length 64 --train.steps 2 --train.eval_sequences 2 --device.threads 1");
  const Arguments added = Words(options);
  for (size_t i = 0; i + 1 < added.size(); i += 2) {
    const auto known = std::find(model.begin(), model.end(), added[i]);
    if (known == model.end()) {
      model.insert(model.end(), {added[i], added[i + 1]});
    } else {
      *(known + 1) = added[i + 1];
    }
  }
  return model;
}

nlohmann::json ReadJson(const std::filesystem::path& path) {
  return nlohmann::json::parse(ReadFile(path));
}

std::vector<nlohmann::json> ReadJsonLines(const std::filesystem::path& path) {
  std::istringstream file(ReadFile(path));
  std::vector<nlohmann::json> lines;
  for (std::string line; std::getline(file, line);) lines.push_back(nlohmann::json::parse(line));
  return lines;
}

std::vector<std::string> LossesIn(const std::filesystem::path& output) {
  std::vector<std::string> losses;
  for (const nlohmann::json& line : ReadJsonLines(output / "metrics.jsonl")) {
    losses.push_back(line.at(line.contains("loss") ? "loss" : "held_out_loss").dump());
  }
  return losses;
}

std::string ComplaintOf(const Outcome& outcome) {
  EXPECT_EQ(outcome.status, 2) << outcome.err;
  std::istringstream stream(outcome.err);
  std::vector<std::string> told;
  for (std::string line; std::getline(stream, line);) {
    if (line.starts_with(kPrefix)) told.push_back(line.substr(kPrefix.size()));
    EXPECT_EQ(line.find("terminate called"), std::string::npos) << outcome.err;
    EXPECT_EQ(line.find("Backtrace"), std::string::npos) << outcome.err;
  }
  EXPECT_EQ(told.size(), 1u) << outcome.err;
  return told.empty() ? "" : told.front();
}

}  // namespace annulus::runtime
