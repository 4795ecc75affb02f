#include "runtime/machine/machine_file.h"

#include <algorithm>
#include <set>
#include <vector>

#include "kernels/base/error.h"
#include "runtime/config/ini.h"
#include "runtime/config/nearest.h"
#include "runtime/config/value_text.h"

namespace annulus::runtime {
namespace {

using kernels::ComputeRates;
using kernels::DType;
using kernels::RateClass;

constexpr double kMicro = 1e-6, kGiga = 1e9;
constexpr int kMostRanks = 1 << 20;

std::vector<std::string_view> WordsOf(std::string_view text) {
  std::vector<std::string_view> words;
  while (!text.empty()) {
    const size_t end = std::min(text.find(' '), text.size());
    if (end > 0) words.push_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return words;
}

// The entries of one section, taken one by one.
class Section {
 public:
  Section(std::string_view file, const IniEntry& header)
      : file_(file), name_(header.section), line_(header.line) {}

  const std::string& name() const { return name_; }
  std::string Place() const { return fmt::format("{}:{}: [{}]", file_, line_, name_); }

  void Add(const IniEntry& entry) {
    for (const IniEntry& other : entries_) {
      if (other.key == entry.key) {
        ThrowConfigError("{} was already given in line {}", PlaceOf(entry), other.line);
      }
    }
    entries_.push_back(entry);
  }

  // "" where it is not given.
  std::string Text(const std::string& key) {
    const IniEntry* entry = Find(key);
    return entry == nullptr ? "" : ParseText(entry->value, PlaceOf(*entry));
  }

  int Whole(const std::string& key, int low, int otherwise) {
    const IniEntry* entry = Find(key);
    if (entry == nullptr) return otherwise;
    const int value = ParseWhole<int>(entry->value, PlaceOf(*entry));
    if (value < low || value > kMostRanks) {
      ThrowConfigError("{}: {} is out of range: {} to {}", PlaceOf(*entry), value, low, kMostRanks);
    }
    return value;
  }

  // 0 or more, and not 0 where `positive`.
  double Real(const std::string& key, bool positive) {
    const IniEntry* entry = Find(key);
    if (entry == nullptr) return 0;
    const double value = ParseReal(entry->value, PlaceOf(*entry));
    if (value < 0 || (positive && value == 0)) {
      ThrowConfigError("{}: {} is out of range: {}", PlaceOf(*entry), entry->value,
                       positive ? "above 0" : "0 or more");
    }
    return value;
  }

  // 0 where it is not given.
  int64_t Bytes(const std::string& key) {
    const IniEntry* entry = Find(key);
    if (entry == nullptr) return 0;
    const int64_t bytes = ParseBytes(entry->value, PlaceOf(*entry));
    if (bytes < 1) {
      ThrowConfigError("{}: {} is out of range: above 0", PlaceOf(*entry), entry->value);
    }
    return bytes;
  }

  // Seconds for each of what `key` gives per second, in billions; 0 where it is not given.
  double Reciprocal(const std::string& key) {
    const double value = Real(key, true);
    return value == 0 ? 0 : 1 / (value * kGiga);
  }

  // After all keys have been asked for.
  void CheckKeys() const {
    for (const IniEntry& entry : entries_) {
      if (known_.count(entry.key) > 0) continue;
      const std::vector<std::string> keys(known_.begin(), known_.end());
      ThrowConfigError("{} is no key of this section; did you mean {}?", PlaceOf(entry),
                       Nearest(entry.key, keys));
    }
  }

 private:
  std::string PlaceOf(const IniEntry& entry) const {
    return fmt::format("{}:{}: [{}] {}", file_, entry.line, name_, entry.key);
  }
  const IniEntry* Find(const std::string& key) {
    known_.insert(key);
    const auto found = std::find_if(entries_.begin(), entries_.end(),
                                    [&](const IniEntry& entry) { return entry.key == key; });
    return found == entries_.end() ? nullptr : &*found;
  }

  std::string file_;
  std::string name_;
  int line_;
  std::vector<IniEntry> entries_;
  std::set<std::string> known_;
};

std::vector<Section> SectionsOf(std::string_view text, std::string_view file) {
  std::vector<Section> sections;
  for (const IniEntry& entry : ParseIni(text, file)) {
    if (!entry.key.empty()) {
      if (sections.empty()) {
        ThrowConfigError("{}:{}: {} stands before the first [section]", file, entry.line,
                         entry.key);
      }
      sections.back().Add(entry);
      continue;
    }
    for (const Section& other : sections) {
      if (other.name() == entry.section) {
        ThrowConfigError("{}:{}: [{}] is there twice", file, entry.line, entry.section);
      }
    }
    sections.emplace_back(file, entry);
  }
  return sections;
}

void ReadMachineSection(Section& section, MachineModel& machine) {
  machine.name = section.Text("name");
  machine.source = section.Text("source");
  machine.ranks = section.Whole("ranks", 1, 1);
  machine.threads_per_rank = section.Whole("threads_per_rank", 0, 1);
  machine.network.ranks_per_node = section.Whole("ranks_per_node", 0, 0);
}

void ReadLink(Section& section, parallel::LinkRate& link) {
  link.latency_s = section.Real("latency_us", false) * kMicro;
  link.s_per_byte = section.Reciprocal("gbytes_per_s");
  link.host_share = section.Real("host_share", false);
  if (link.s_per_byte == 0) ThrowConfigError("{} needs gbytes_per_s", section.Place());
  if (link.host_share > 1) {
    ThrowConfigError("{}: host_share = {} is out of range: 0 to 1", section.Place(),
                     link.host_share);
  }
}

[[noreturn]] void ThrowUnknown(const Section& section) {
  ThrowConfigError(
      "{} is no section of a machine file; there are [machine], [within_node], [between_nodes], "
      "[reduce], "
      "[matmul DTYPE], [elementwise DTYPE], [attention_forward DTYPE HEAD_DIM] and "
      "[attention_backward DTYPE HEAD_DIM], DTYPE being f32 or bf16",
      section.Place());
}

// Class, dtype and head size from the section's name.
ComputeRates::Entry EntryOf(const Section& section) {
  const std::vector<std::string_view> words = WordsOf(section.name());
  for (int c = 0; c < kernels::kRateClasses; ++c) {
    const auto work = static_cast<RateClass>(c);
    if (words.empty() || words[0] != NameOf(work)) continue;
    if (words.size() != (IsAttention(work) ? 3u : 2u)) break;
    for (const DType dtype : {DType::kF32, DType::kBF16}) {
      if (words[1] != kernels::NameOf(dtype)) continue;
      ComputeRates::Entry entry{.work = work, .dtype = dtype};
      if (IsAttention(work)) {
        entry.head_dim = ParseWhole<int64_t>(words[2], section.Place());
        if (entry.head_dim < 1) ThrowUnknown(section);
      }
      return entry;
    }
  }
  ThrowUnknown(section);
}

void ReadRate(Section& section, ComputeRates& rates) {
  ComputeRates::Entry entry = EntryOf(section);
  entry.rate = {.overhead_s = section.Real("overhead_us", false) * kMicro,
                .s_per_flop = section.Reciprocal("gflops"),
                .s_per_byte = section.Reciprocal("gbytes_per_s"),
                .s_per_cached_byte = section.Reciprocal("cached_gbytes_per_s"),
                .cache_bytes = section.Bytes("cache_bytes")};
  if (entry.rate.s_per_flop == 0 && entry.rate.s_per_byte == 0) {
    ThrowConfigError("{} needs gflops, gbytes_per_s or both", section.Place());
  }
  if (entry.rate.cache_bytes == 0 && entry.rate.s_per_cached_byte != 0) {
    ThrowConfigError("{}: cached_gbytes_per_s needs cache_bytes", section.Place());
  }
  rates.Add(entry);
}

std::string Line(std::string_view key, double value) {
  return value == 0 ? "" : fmt::format("{} = {:.6g}\n", key, value);
}
std::string Line(std::string_view key, const std::string& value) {
  return value.empty() ? "" : fmt::format("{} = {}\n", key, QuotedIniValue(value));
}
double PerSecond(double seconds) { return seconds == 0 ? 0 : 1 / (seconds * kGiga); }

std::string SectionText(const MachineModel& machine, const std::string& name,
                        const std::string& lines) {
  const auto source = machine.sources.find(name);
  return fmt::format("\n[{}]\n{}{}", name, lines,
                     source == machine.sources.end() ? "" : Line("source", source->second));
}

std::string RateText(const kernels::KernelRate& rate) {
  std::string text = Line("overhead_us", rate.overhead_s / kMicro) +
                     Line("gflops", PerSecond(rate.s_per_flop)) +
                     Line("gbytes_per_s", PerSecond(rate.s_per_byte));
  if (rate.cache_bytes == 0) return text;
  return text + Line("cached_gbytes_per_s", PerSecond(rate.s_per_cached_byte)) +
         Line("cache_bytes", RenderBytes(rate.cache_bytes));
}

std::string LinkText(const parallel::LinkRate& link) {
  return Line("latency_us", link.latency_s / kMicro) +
         Line("gbytes_per_s", PerSecond(link.s_per_byte)) + Line("host_share", link.host_share);
}

}  // namespace

void MachineModel::CheckLinks(int world_size) const {
  const bool one_node = network.ranks_per_node == 0 || world_size <= network.ranks_per_node;
  const bool alone_on_node = network.ranks_per_node == 1;
  if (world_size > 1 && !alone_on_node && !has_within_node) {
    ThrowConfigError("the machine file has no section [within_node], which {} ranks need",
                     world_size);
  }
  if (!one_node && !has_between_nodes) {
    ThrowConfigError(
        "the machine file has no section [between_nodes], which {} ranks need at ranks_per_node = "
        "{}",
        world_size, network.ranks_per_node);
  }
}

MachineModel ParseMachine(std::string_view text, std::string_view name) {
  MachineModel machine;
  bool named = false;
  for (Section& section : SectionsOf(text, name)) {
    if (section.name() == "machine") {
      ReadMachineSection(section, machine);
      named = true;
    } else {
      const std::string source = section.Text("source");
      if (!source.empty()) machine.sources[section.name()] = source;
      if (section.name() == "within_node") {
        ReadLink(section, machine.network.within_node);
        machine.has_within_node = true;
      } else if (section.name() == "between_nodes") {
        ReadLink(section, machine.network.between_nodes);
        machine.has_between_nodes = true;
      } else if (section.name() == "reduce") {
        machine.network.reduce_s_per_byte = section.Reciprocal("gbytes_per_s");
        if (machine.network.reduce_s_per_byte == 0) {
          ThrowConfigError("{} needs gbytes_per_s", section.Place());
        }
      } else {
        ReadRate(section, machine.compute);
      }
    }
    section.CheckKeys();
  }
  if (!named) ThrowConfigError("{}: a machine file has a section [machine]", name);
  return machine;
}

MachineModel ReadMachineFile(const std::string& path) {
  return ParseMachine(ReadIniText(path, "machine"), path);
}

std::string MachineText(const MachineModel& machine) {
  std::string text =
      "# A machine for annulus plan --machine FILE.\n[machine]\n" + Line("name", machine.name) +
      Line("source", machine.source) +
      fmt::format("ranks = {}\nthreads_per_rank = {}\nranks_per_node = {}\n", machine.ranks,
                  machine.threads_per_rank, machine.network.ranks_per_node);
  for (const ComputeRates::Entry& entry : machine.compute.entries()) {
    const std::string name =
        fmt::format("{} {}{}", NameOf(entry.work), kernels::NameOf(entry.dtype),
                    IsAttention(entry.work) ? fmt::format(" {}", entry.head_dim) : "");
    text += SectionText(machine, name, RateText(entry.rate));
  }
  if (machine.has_within_node) {
    text += SectionText(machine, "within_node", LinkText(machine.network.within_node));
  }
  if (machine.has_between_nodes) {
    text += SectionText(machine, "between_nodes", LinkText(machine.network.between_nodes));
  }
  if (machine.network.reduce_s_per_byte > 0) {
    text += SectionText(machine, "reduce",
                        Line("gbytes_per_s", PerSecond(machine.network.reduce_s_per_byte)));
  }
  return text;
}

}  // namespace annulus::runtime
