#include "runtime/run/check_run.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "kernels/base/bfloat16.h"
#include "parallel/local_communicator.h"
#include "runtime/config/strategy.h"
#include "runtime/io/format.h"
#include "runtime/machine/placement_advice.h"
#include "runtime/memory/arena.h"
#include "runtime/run/rank_setup.h"
#include "runtime/train/batch_loader.h"

namespace annulus::runtime {
namespace {

// Of the *mean* loss, so that the number of targets is checked as well.
struct Gradients {
  StepResult step;
  std::vector<float> values;  // in the parameter layout
};

// Makes the parameters of an f32 model those of a bf16 one.
void RoundParameters(Program& program) {
  std::vector<float> values(static_cast<size_t>(program.parameters().size()));
  program.kernels().CopyToHost(program.parameters(), values.data());
  for (float& value : values) value = kernels::ToFloat(kernels::ToBFloat16(value));
  program.kernels().CopyFromHost(values.data(), program.parameters());
}

enum class InitialWeights { kAsDrawn, kRoundedToBf16 };

// One for each phase of the context schedule.
std::vector<Gradients> ComputeGradients(const RankSetup& setup,
                                        InitialWeights weights = InitialWeights::kAsDrawn) {
  Arena arena = setup.ReserveArena();
  const RankEnvironment environment = setup.Environment(arena);
  Program program(setup.config, setup.shape, environment);
  program.Initialize();
  if (weights == InitialWeights::kRoundedToBf16) RoundParameters(program);
  DatasetLoader loader(*setup.dataset, DatasetLoader::Split::kTrain, environment.context.rank(),
                       program.kernels());
  std::vector<Gradients> results;
  for (const ContextPhase& phase : setup.config.train.Phases()) {
    Gradients result{
        .step = program.Gradients(
            phase.length, 0,
            [&](const SequenceRange& range, SequenceShape& shape, View tokens, View labels) {
              return loader.Load(range, shape, tokens, labels);
            }),
        .values = std::vector<float>(static_cast<size_t>(program.layout().elements()))};
    program.kernels().CopyToHost(program.gradients(), result.values.data());
    const auto targets = static_cast<float>(std::max<int64_t>(result.step.targets, 1));
    for (float& value : result.values) value /= targets;
    results.push_back(std::move(result));
  }
  return results;
}

double RelativeError(const Gradients& many, const Gradients& one, const ParameterSpec& spec) {
  double difference = 0, norm = 0;
  for (int64_t i = spec.offset; i < spec.offset + spec.size; ++i) {
    const auto a = static_cast<double>(many.values[static_cast<size_t>(i)]);
    const auto b = static_cast<double>(one.values[static_cast<size_t>(i)]);
    difference += (a - b) * (a - b);
    norm += b * b;
  }
  if (difference == 0) return 0;
  return norm > 0 ? std::sqrt(difference / norm) : INFINITY;
}

ParityReport Compare(const Gradients& many, const Gradients& one, const ParameterLayout& layout) {
  ParityReport report{.loss_one = one.step.loss,
                      .loss_many = many.step.loss,
                      .loss_error = std::abs(many.step.loss - one.step.loss) /
                                    std::max(std::abs(one.step.loss), 1e-30)};
  for (const ParameterSpec& spec : layout.specs()) {
    report.gradients.push_back({spec.name, RelativeError(many, one, spec)});
  }
  return report;
}

RunConfig OnOneRank(RunConfig config) {
  config.ranks = 1;
  config.parallel = OnOneRank(config.parallel);
  return config;
}

// For each phase, what the ranks' results may differ by from those of one rank, `one`. In bf16,
// where both are off by roundings, it is twice what one rank is off by from f32 at the same
// weights.
std::vector<double> Tolerances(const RunConfig& config, const std::vector<Gradients>& one,
                               parallel::Communicator& solo) {
  std::vector<double> tolerances(one.size(), kParityTolerance);
  if (config.model.dtype == kernels::DType::kF32) return tolerances;
  RunConfig exact_config = OnOneRank(config);
  exact_config.model.dtype = kernels::DType::kF32;
  const RankSetup setup = SetUpRank(exact_config, solo);
  const std::vector<Gradients> exact = ComputeGradients(setup, InitialWeights::kRoundedToBf16);
  const ParameterLayout layout(setup.shape);
  for (size_t phase = 0; phase < one.size(); ++phase) {
    tolerances[phase] += 2 * Compare(one[phase], exact[phase], layout).WorstError();
  }
  return tolerances;
}

}  // namespace

double ParityReport::WorstError() const {
  double worst = loss_error;
  // A NaN must not hide behind std::max.
  for (const GradientDifference& g : gradients) {
    if (!(g.relative_error <= worst)) worst = g.relative_error;
  }
  return std::isnan(worst) ? INFINITY : worst;
}

std::vector<ParityReport> CheckOnRank(const RunConfig& config, parallel::Communicator& world) {
  const RankSetup setup = SetUpRank(config, world);
  if (world.rank() == 0) {
    for (const std::string& advice : PlacementAdvice(setup.placements)) {
      fmt::print(stderr, "warning: {}\n", advice);
    }
  }
  const std::vector<Gradients> many = ComputeGradients(setup);
  std::vector<ParityReport> reports;
  if (world.rank() == 0) {
    parallel::LocalGroup alone(1);
    const std::unique_ptr<parallel::Communicator> solo = alone.Join(0);
    const RankSetup solo_setup = SetUpRank(OnOneRank(setup.config), *solo);
    const std::vector<Gradients> one = ComputeGradients(solo_setup);
    const std::vector<double> tolerances = Tolerances(setup.config, one, *solo);
    const ParameterLayout layout(setup.shape);
    size_t index = 0;
    for (const ContextPhase& phase : setup.config.train.Phases()) {
      ParityReport report = Compare(many[index], one[index], layout);
      report.tolerance = tolerances[index];
      report.ranks = world.size();
      report.length = phase.length;
      reports.push_back(std::move(report));
      ++index;
    }
  }
  // No barrier: a long single-rank run must not be taken for a rank that hangs.
  return reports;
}

std::string ParityTable(const std::vector<ParityReport>& reports) {
  std::string text;
  for (const ParityReport& report : reports) {
    TextTable table({{"of the loss' gradient", Align::kLeft}, {"relative error", Align::kRight}});
    for (const GradientDifference& g : report.gradients) {
      table.AddRow({g.parameter, fmt::format("{:.2e}", g.relative_error)});
    }
    text += fmt::format(
        "{} ranks against one at {} tokens\nloss {:.7f} against {:.7f}, relative error {:.2e}\n{}"
        "worst {:.2e}, tolerance {:.1e}: {}\n\n",
        report.ranks, FormatCount(report.length), report.loss_many, report.loss_one,
        report.loss_error, table.ToString(), report.WorstError(), report.tolerance,
        report.Passed() ? "passed" : "FAILED");
  }
  return text;
}

nlohmann::ordered_json ToJson(const std::vector<ParityReport>& reports) {
  nlohmann::ordered_json json;
  json["checks"] = nlohmann::ordered_json::array();
  for (const ParityReport& report : reports) {
    nlohmann::ordered_json gradients;
    for (const GradientDifference& g : report.gradients) gradients[g.parameter] = g.relative_error;
    json["checks"].push_back({{"ranks", report.ranks},
                              {"sequence_length", report.length},
                              {"loss_one_rank", report.loss_one},
                              {"loss", report.loss_many},
                              {"loss_relative_error", report.loss_error},
                              {"gradient_relative_error", gradients},
                              {"worst_relative_error", report.WorstError()},
                              {"tolerance", report.tolerance},
                              {"passed", report.Passed()}});
  }
  return json;
}

}  // namespace annulus::runtime
