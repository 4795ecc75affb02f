#include "runtime/report/run_directory.h"

#include <nlohmann/json.hpp>
#include <system_error>

#include "runtime/io/atomic_file.h"
#include "runtime/io/safetensors.h"

namespace annulus::runtime {
namespace {

constexpr int kIndent = 2;

nlohmann::ordered_json LossesJson(const EvaluationReport& report) {
  nlohmann::ordered_json losses = nlohmann::ordered_json::array();
  for (const PositionLoss& bucket : report.by_position) {
    losses.push_back({{"from", bucket.from},
                      {"to", bucket.to},
                      {"targets", bucket.targets},
                      {"loss", bucket.loss}});
  }
  return losses;
}

}  // namespace

nlohmann::ordered_json MemoryJson(const std::vector<RankMemory>& ranks) {
  nlohmann::ordered_json json;
  json["ranks"] = nlohmann::ordered_json::array();
  for (const RankMemory& rank : ranks) json["ranks"].push_back(ToJson(rank));
  return json;
}

RunDirectory::RunDirectory(std::filesystem::path path, const std::string& resolved_ini)
    : path_(std::move(path)) {
  std::error_code error;
  std::filesystem::create_directories(path_, error);
  if (error) {
    ThrowConfigError("output directory {} cannot be made: {}; choose another with --output DIR",
                     path_.string(), error.message());
  }
  try {
    WriteFileAtomically(path_ / "config.ini", resolved_ini);
    metrics_.emplace(path_ / "metrics.jsonl", JsonLines::Start::kEmpty);
  } catch (const SystemError& failure) {
    ThrowConfigError("output directory {} cannot be written: {}; choose another with --output DIR",
                     path_.string(), failure.what());
  }
}

void RunDirectory::AppendStep(const StepReport& report) {
  metrics_->Append({{"step", report.step},
                    {"sequence_length", report.length},
                    {"loss", report.loss},
                    {"grad_norm", report.grad_norm},
                    {"lr", report.learning_rate},
                    {"tokens", report.tokens},
                    {"step_ms", report.step_ms},
                    {"tokens_per_s", report.tokens_per_s},
                    {"mfu", report.mfu},
                    {"comm_exposed_ms", report.comm_exposed_ms},
                    {"slowest_rank", report.slowest.rank},
                    {"slowest_factor", report.slowest.factor},
                    {"peak_activation_bytes", report.peak_activation_bytes}});
}

void RunDirectory::AppendEvaluation(int64_t step, const EvaluationReport& report, bool is_task) {
  nlohmann::ordered_json line = {{"step", step},
                                 {"held_out_loss", report.loss},
                                 {"sequence_length", report.length},
                                 {"sequences", report.sequences}};
  if (is_task) line["task_loss"] = report.task_loss;
  metrics_->Append(line);
}

void RunDirectory::WriteMemory(const std::vector<RankMemory>& ranks) const {
  WriteFileAtomically(path_ / "memory.json", MemoryJson(ranks).dump(kIndent) + "\n");
}

void RunDirectory::WriteActivity(const std::vector<RankActivity>& ranks) const {
  WriteFileAtomically(path_ / "communication.json", ActivityJson(ranks).dump(kIndent) + "\n");
}

void RunDirectory::WriteSummary(const RunSummary& summary) const {
  const TrainReport& train = summary.train;
  nlohmann::ordered_json json = {{"final_train_loss", train.final_loss},
                                 {"tokens", train.tokens},
                                 {"tokens_per_s", train.tokens_per_s()},
                                 {"train_s", train.train_s},
                                 {"wall_s", summary.wall_s},
                                 {"parameters", summary.parameters}};
  const EvaluationReport& held_out = train.held_out;
  if (held_out.sequences > 0) {
    json["held_out_sequences"] = held_out.sequences;
    json["held_out_targets"] = held_out.targets;
    json["held_out_loss"] = held_out.loss;
    if (summary.is_task) {
      json["task_loss"] = held_out.task_loss;
    } else {
      json["unigram_nats"] = summary.unigram_nats;
      json["bigram_nats"] = summary.bigram_nats;
    }
    json["loss_by_position"] = LossesJson(held_out);
  }
  WriteFileAtomically(path_ / "summary.json", json.dump(kIndent) + "\n");
}

void RunDirectory::WriteModel(const DecoderShape& shape, int64_t max_positions,
                              const ParameterLayout& layout, kernels::Kernels& kernels,
                              ConstView flat) const {
  const std::filesystem::path directory = path_ / "model";
  std::filesystem::create_directories(directory);
  WriteFileAtomically(directory / "config.json",
                      HfLlamaConfigJson(ToHfLlama(shape, max_positions)));
  std::vector<SafetensorsEntry> entries;
  for (const ParameterSpec& spec : layout.specs()) {
    const ConstView values = flat.Slice(0, spec.offset, spec.size);
    entries.push_back({.name = spec.name,
                       .dtype = std::string(SafetensorsDType(values.dtype)),
                       .shape = spec.shape,
                       .fill = [values, &kernels](int64_t offset, std::span<std::byte> chunk) {
                         const int64_t size = SizeOf(values.dtype);
                         kernels.CopyToHost(
                             values.Slice(0, offset / size, std::ssize(chunk) / size),
                             chunk.data());
                       }});
  }
  WriteSafetensors(directory / "model.safetensors", std::move(entries), {{"format", "pt"}});
}

}  // namespace annulus::runtime
