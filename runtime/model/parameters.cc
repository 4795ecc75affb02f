#include "runtime/model/parameters.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>

#include "kernels/base/error.h"
#include "runtime/data/counter_hash.h"

namespace annulus::runtime {
namespace {

constexpr int64_t kElementsPerLine = 16;

// Uniform in [0, 1), 53 bits: a pure function of stream and index.
double UniformAt(uint64_t stream, uint64_t index) {
  const std::array<uint64_t, 2> counter{stream, index};
  return static_cast<double>(XXH3_64bits(counter.data(), sizeof(counter)) >> 11) * 0x1p-53;
}

std::string LayerName(int64_t layer, const char* module) {
  return fmt::format("model.layers.{}.{}.weight", layer, module);
}

}  // namespace

ParameterLayout::ParameterLayout(const DecoderShape& shape) : shape_(shape) {
  const int64_t hidden = shape.hidden_size, width = shape.intermediate_size;
  const float std = shape.initializer_range;
  Add("model.embed_tokens.weight", {shape.vocab_size, hidden}, shape.embedding_initializer_range);
  for (int64_t l = 0; l < shape.num_hidden_layers; ++l) {
    Add(LayerName(l, "self_attn.q_proj"), {shape.query_size(), hidden}, std);
    Add(LayerName(l, "self_attn.k_proj"), {shape.kv_size(), hidden}, std);
    Add(LayerName(l, "self_attn.v_proj"), {shape.kv_size(), hidden}, std);
    Add(LayerName(l, "self_attn.o_proj"), {hidden, shape.query_size()}, std);
    Add(LayerName(l, "mlp.gate_proj"), {width, hidden}, std);
    Add(LayerName(l, "mlp.up_proj"), {width, hidden}, std);
    Add(LayerName(l, "mlp.down_proj"), {hidden, width}, std);
  }
  if (!shape.tie_word_embeddings) Add("lm_head.weight", {shape.vocab_size, hidden}, std);
  decayed_elements_ = elements_;
  for (int64_t l = 0; l < shape.num_hidden_layers; ++l) {
    Add(LayerName(l, "input_layernorm"), {hidden}, 0);
    Add(LayerName(l, "post_attention_layernorm"), {hidden}, 0);
  }
  Add("model.norm.weight", {hidden}, 0);
}

void ParameterLayout::Add(std::string name, std::vector<int64_t> shape, float initial_std) {
  int64_t size = 1;
  for (int64_t extent : shape) size *= extent;
  specs_.push_back({std::move(name), std::move(shape), elements_, size, initial_std});
  elements_ += (size + kElementsPerLine - 1) / kElementsPerLine * kElementsPerLine;
}

int64_t ParameterLayout::parameter_count() const {
  int64_t count = 0;
  for (const ParameterSpec& spec : specs_) count += spec.size;
  return count;
}

View ParameterLayout::Find(View flat, const std::string& name) const {
  const auto spec = std::find_if(specs_.begin(), specs_.end(),
                                 [&](const ParameterSpec& s) { return s.name == name; });
  Check(spec != specs_.end(), "no parameter is named {}", name);
  const View slice = Slice(*spec, flat);
  if (spec->shape.size() == 1) return slice;
  return slice.Reshape({spec->shape[0], spec->shape[1]});
}

DecoderTensors ParameterLayout::Bind(View flat) const {
  Check(flat.rank == 1 && flat.size() == elements_, "{} for {} elements of parameters",
        flat.ToString(), elements_);
  DecoderTensors tensors;
  tensors.embed_tokens = Find(flat, "model.embed_tokens.weight");
  for (int64_t l = 0; l < shape_.num_hidden_layers; ++l) {
    const auto find = [&](const char* module) { return Find(flat, LayerName(l, module)); };
    tensors.layers.push_back({.input_layernorm = find("input_layernorm"),
                              .q_proj = find("self_attn.q_proj"),
                              .k_proj = find("self_attn.k_proj"),
                              .v_proj = find("self_attn.v_proj"),
                              .o_proj = find("self_attn.o_proj"),
                              .post_attention_layernorm = find("post_attention_layernorm"),
                              .gate_proj = find("mlp.gate_proj"),
                              .up_proj = find("mlp.up_proj"),
                              .down_proj = find("mlp.down_proj")});
  }
  tensors.norm = Find(flat, "model.norm.weight");
  tensors.lm_head =
      shape_.tie_word_embeddings ? tensors.embed_tokens : Find(flat, "lm_head.weight");
  return tensors;
}

void FillInitialValues(const ParameterSpec& spec, uint64_t seed, int64_t first,
                       std::span<float> values) {
  Check(first % 2 == 0, "initial values come in pairs; element {} is odd", first);
  if (spec.initial_std == 0) {
    std::fill(values.begin(), values.end(), 1.0f);
    return;
  }
  const uint64_t stream = HashText(fmt::format("{} {}", seed, spec.name));
  // Box & Muller 1958: a pair of uniform numbers gives a pair of normal ones.
  for (size_t i = 0; i < values.size(); i += 2) {
    const uint64_t element = static_cast<uint64_t>(first) + i;
    const double radius = std::sqrt(-2.0 * std::log(1.0 - UniformAt(stream, element)));
    const double angle = 2.0 * std::numbers::pi * UniformAt(stream, element + 1);
    values[i] = static_cast<float>(radius * std::cos(angle)) * spec.initial_std;
    if (i + 1 < values.size()) {
      values[i + 1] = static_cast<float>(radius * std::sin(angle)) * spec.initial_std;
    }
  }
}

}  // namespace annulus::runtime
