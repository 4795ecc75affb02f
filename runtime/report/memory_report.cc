#include "runtime/report/memory_report.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "runtime/config/strategy.h"
#include "runtime/io/format.h"
#include "runtime/memory/os_memory.h"

namespace annulus::runtime {
namespace {

using kernels::MemoryCategory;

nlohmann::ordered_json CategoriesToJson(const CategoryBytes& bytes) {
  nlohmann::ordered_json json;
  for (size_t c = 0; c < bytes.size(); ++c) {
    json[std::string(kernels::NameOf(static_cast<MemoryCategory>(c)))] = bytes[c];
  }
  return json;
}

CategoryBytes CategoriesFromJson(const nlohmann::ordered_json& json) {
  CategoryBytes bytes{};
  for (size_t c = 0; c < bytes.size(); ++c) {
    bytes[c] = json.at(std::string(kernels::NameOf(static_cast<MemoryCategory>(c))));
  }
  return bytes;
}

// Ranks first..last, whose ledgers agree in every category.
struct RankGroup {
  size_t first;
  size_t last;
};

std::vector<RankGroup> GroupEqual(const std::vector<RankMemory>& ranks) {
  std::vector<RankGroup> groups;
  for (size_t r = 0; r < ranks.size(); ++r) {
    if (!groups.empty()) {
      const RankMemory& head = ranks[groups.back().first];
      if (head.predicted == ranks[r].predicted && head.measured == ranks[r].measured) {
        groups.back().last = r;
        continue;
      }
    }
    groups.push_back({r, r});
  }
  return groups;
}

std::string NameOf(const std::vector<RankMemory>& ranks, const RankGroup& group) {
  if (group.first == group.last) return fmt::format("rank {}", ranks[group.first].rank);
  return fmt::format("ranks {}-{}, each", ranks[group.first].rank, ranks[group.last].rank);
}

// One row for each category of `group`, then the peak.
std::string CategoryTable(const std::vector<RankMemory>& ranks, const RankGroup& group,
                          bool with_measured) {
  const RankMemory& memory = ranks[group.first];
  std::vector<TextTable::Column> columns = {{NameOf(ranks, group), Align::kLeft},
                                            {"predicted", Align::kRight}};
  if (with_measured) columns.push_back({"measured", Align::kRight});
  TextTable table(std::move(columns));
  const auto row = [&](std::string name, int64_t predicted, int64_t measured) {
    std::vector<std::string> cells = {std::move(name), FormatBytes(predicted)};
    if (with_measured) cells.push_back(FormatBytes(measured));
    table.AddRow(std::move(cells));
  };
  for (size_t c = 0; c < memory.predicted.size(); ++c) {
    row(std::string(kernels::NameOf(static_cast<MemoryCategory>(c))), memory.predicted[c],
        memory.measured[c]);
  }
  row("peak", memory.predicted_peak_bytes, memory.peak_bytes);
  row("of it a step's", memory.predicted_peak_activation_bytes, memory.peak_activation_bytes);
  return table.ToString();
}

// What drivers say of the ranks' devices; empty where tensors are in the host's memory.
std::string DeviceTable(const std::vector<RankMemory>& ranks) {
  const auto on_device = [](const RankMemory& rank) { return rank.device_total_bytes > 0; };
  if (std::none_of(ranks.begin(), ranks.end(), on_device)) return "";
  TextTable table({{"rank", Align::kRight},
                   {"device memory", Align::kRight},
                   {"in use", Align::kRight},
                   {"before tensors", Align::kRight},
                   {"tensors", Align::kRight},
                   {"unexplained", Align::kRight}});
  for (const RankMemory& rank : ranks) {
    table.AddRow({std::to_string(rank.rank), FormatBytes(rank.device_total_bytes),
                  FormatBytes(rank.device_bytes), FormatBytes(rank.device_baseline_bytes),
                  FormatBytes(rank.peak_bytes), FormatBytes(rank.device_unexplained_bytes())});
  }
  return fmt::format("\n{}", table.ToString());
}

}  // namespace

RankMemory PredictedMemory(const RunConfig& config, const DecoderShape& shape,
                           const RankPlan& plan) {
  const int64_t length = config.train.sequence_length;
  const parallel::Partition partition =
      PartitionOf(config.parallel, length, plan.place.context_size);
  return {.rank = plan.place.world_rank(),
          .predicted = plan.ledger.peak_by_category(),
          .predicted_peak_bytes = plan.ledger.peak_bytes(),
          .predicted_peak_activation_bytes = plan.ledger.peak_activation_bytes(),
          .score_matrix_bytes = shape.num_hidden_layers * shape.num_attention_heads *
                                config.train.MicroBatch(length) * partition.local_tokens() *
                                length * SizeOf(kernels::DType::kF32)};
}

MemoryBaseline ReadMemoryBaseline(const kernels::KernelTable& table) {
  return {.resident_bytes = ReadOsMemory().resident_bytes,
          .device_bytes = table.ReadMemoryUse().used_bytes};
}

void AddMeasuredMemory(const Arena& arena, const MemoryBaseline& baseline,
                       const kernels::KernelTable& table, RankMemory& memory) {
  const Ledger& ledger = arena.ledger();
  memory.measured = ledger.peak_by_category();
  memory.peak_bytes = ledger.peak_bytes();
  memory.peak_activation_bytes = ledger.peak_activation_bytes();
  memory.baseline_bytes = baseline.resident_bytes;
  memory.os_peak_bytes = ReadOsMemory().peak_resident_bytes;
  memory.peer_bytes_mapped = arena.peer_bytes_mapped();
  const kernels::DeviceMemoryUse device = table.ReadMemoryUse();
  memory.device_baseline_bytes = baseline.device_bytes;
  memory.device_bytes = device.used_bytes;
  memory.device_total_bytes = device.total_bytes;
}

nlohmann::ordered_json ToJson(const RankMemory& memory) {
  nlohmann::ordered_json json = {
      {"rank", memory.rank},
      {"host", memory.host},
      {"categories", CategoriesToJson(memory.measured)},
      {"predicted_categories", CategoriesToJson(memory.predicted)},
      {"peak_bytes", memory.peak_bytes},
      {"predicted_peak_bytes", memory.predicted_peak_bytes},
      {"peak_activation_bytes", memory.peak_activation_bytes},
      {"predicted_peak_activation_bytes", memory.predicted_peak_activation_bytes},
      {"os_peak_bytes", memory.os_peak_bytes},
      {"baseline_bytes", memory.baseline_bytes},
      {"peer_bytes_mapped", memory.peer_bytes_mapped},
      {"score_matrix_bytes", memory.score_matrix_bytes}};
  if (memory.device_total_bytes == 0) return json;
  json["device_bytes"] = memory.device_bytes;
  json["device_baseline_bytes"] = memory.device_baseline_bytes;
  json["device_unexplained_bytes"] = memory.device_unexplained_bytes();
  json["device_total_bytes"] = memory.device_total_bytes;
  return json;
}

RankMemory RankMemoryFromJson(const nlohmann::ordered_json& json) {
  return {.rank = json.at("rank"),
          .host = json.at("host"),
          .predicted = CategoriesFromJson(json.at("predicted_categories")),
          .measured = CategoriesFromJson(json.at("categories")),
          .predicted_peak_bytes = json.at("predicted_peak_bytes"),
          .peak_bytes = json.at("peak_bytes"),
          .predicted_peak_activation_bytes = json.at("predicted_peak_activation_bytes"),
          .peak_activation_bytes = json.at("peak_activation_bytes"),
          .baseline_bytes = json.at("baseline_bytes"),
          .os_peak_bytes = json.at("os_peak_bytes"),
          .peer_bytes_mapped = json.at("peer_bytes_mapped"),
          .device_baseline_bytes = json.value("device_baseline_bytes", int64_t{0}),
          .device_bytes = json.value("device_bytes", int64_t{0}),
          .device_total_bytes = json.value("device_total_bytes", int64_t{0}),
          .score_matrix_bytes = json.at("score_matrix_bytes")};
}

std::string PredictedMemoryTable(const std::vector<RankMemory>& ranks) {
  std::string text;
  for (const RankGroup& group : GroupEqual(ranks)) text += CategoryTable(ranks, group, false);
  return text;
}

std::string MemoryTable(const std::vector<RankMemory>& ranks) {
  std::string text;
  for (const RankGroup& group : GroupEqual(ranks)) {
    text += CategoryTable(ranks, group, true) + "\n";
  }
  TextTable table({{"rank", Align::kRight},
                   {"host", Align::kLeft},
                   {"peak", Align::kRight},
                   {"baseline", Align::kRight},
                   {"of peers", Align::kRight},
                   {"OS peak", Align::kRight},
                   {"score matrix avoided", Align::kRight}});
  for (const RankMemory& rank : ranks) {
    table.AddRow({std::to_string(rank.rank), rank.host, FormatBytes(rank.peak_bytes),
                  FormatBytes(rank.baseline_bytes), FormatBytes(rank.peer_bytes_mapped),
                  FormatBytes(rank.os_peak_bytes), FormatBytes(rank.score_matrix_bytes)});
  }
  return text + table.ToString() + DeviceTable(ranks);
}

}  // namespace annulus::runtime
