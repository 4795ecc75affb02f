#include "runtime/model/parameters.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>

#include "kernels/base/error.h"
#include "runtime/data/counter_hash.h"

namespace annulus::runtime {
namespace {

constexpr int64_t kElementsPerLine = 32;  // of bf16; two lines of f32

// Uniform in [0, 1), 53 bits: a pure function of stream and index.
double UniformAt(uint64_t stream, uint64_t index) {
  const std::array<uint64_t, 2> counter{stream, index};
  return static_cast<double>(XXH3_64bits(counter.data(), sizeof(counter)) >> 11) * 0x1p-53;
}

}  // namespace

HfLlamaConfig ToHfLlama(const DecoderShape& shape, int64_t max_positions) {
  return {.hidden_size = shape.hidden_size,
          .intermediate_size = shape.intermediate_size,
          .num_hidden_layers = shape.num_hidden_layers,
          .num_attention_heads = shape.num_attention_heads,
          .num_key_value_heads = shape.num_key_value_heads,
          .head_dim = shape.head_dim,
          .vocab_size = shape.vocab_size,
          .max_position_embeddings = max_positions,
          .rope_theta = shape.rope_theta,
          .rms_norm_eps = static_cast<double>(shape.rms_norm_eps),
          .initializer_range = static_cast<double>(shape.initializer_range),
          .tie_word_embeddings = shape.tie_word_embeddings,
          .dtype = shape.dtype};
}

ParameterLayout::ParameterLayout(const DecoderShape& shape) : shape_(shape) {
  const std::vector<HfLlamaParameter> parameters = HfLlamaParameters(ToHfLlama(shape, 0));
  for (const HfLlamaParameter& p : parameters) {
    const bool embeds = p.name == kHfLlamaEmbedding;
    if (p.shape.size() == 2) {
      Add(p, embeds ? shape.embedding_initializer_range : shape.initializer_range);
    }
  }
  decayed_elements_ = elements_;
  for (const HfLlamaParameter& p : parameters) {
    if (p.shape.size() == 1) Add(p, 0);
  }
}

void ParameterLayout::Add(const HfLlamaParameter& parameter, float initial_std) {
  int64_t size = 1;
  for (int64_t extent : parameter.shape) size *= extent;
  specs_.push_back({parameter.name, parameter.shape, elements_, size, initial_std});
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
  tensors.embed_tokens = Find(flat, kHfLlamaEmbedding);
  for (int64_t l = 0; l < shape_.num_hidden_layers; ++l) {
    const HfLlamaLayerNames names = HfLlamaLayer(l);
    tensors.layers.push_back(
        {.input_layernorm = Find(flat, names.input_layernorm),
         .q_proj = Find(flat, names.q_proj),
         .k_proj = Find(flat, names.k_proj),
         .v_proj = Find(flat, names.v_proj),
         .o_proj = Find(flat, names.o_proj),
         .post_attention_layernorm = Find(flat, names.post_attention_layernorm),
         .gate_proj = Find(flat, names.gate_proj),
         .up_proj = Find(flat, names.up_proj),
         .down_proj = Find(flat, names.down_proj)});
  }
  tensors.norm = Find(flat, kHfLlamaFinalNorm);
  tensors.lm_head = shape_.tie_word_embeddings ? tensors.embed_tokens : Find(flat, kHfLlamaHead);
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
