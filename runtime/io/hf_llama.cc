#include "runtime/io/hf_llama.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

namespace annulus::runtime {

std::string HfLlamaConfigJson(const HfLlamaConfig& config) {
  nlohmann::ordered_json json = {
      {"architectures", {"LlamaForCausalLM"}},
      {"model_type", "llama"},
      {"vocab_size", config.vocab_size},
      {"hidden_size", config.hidden_size},
      {"intermediate_size", config.intermediate_size},
      {"num_hidden_layers", config.num_hidden_layers},
      {"num_attention_heads", config.num_attention_heads},
      {"num_key_value_heads", config.num_key_value_heads},
      {"head_dim", config.head_dim},
      {"hidden_act", "silu"},
      {"max_position_embeddings", config.max_position_embeddings},
      {"initializer_range", config.initializer_range},
      {"rms_norm_eps", config.rms_norm_eps},
      {"tie_word_embeddings", config.tie_word_embeddings},
      // Versions of transformers before 5 read the first, later ones the second.
      {"rope_theta", config.rope_theta},
      {"rope_parameters", {{"rope_type", "default"}, {"rope_theta", config.rope_theta}}},
      {"attention_bias", false},
      {"attention_dropout", 0.0},
      {"mlp_bias", false},
      {"bos_token_id", nullptr},
      {"eos_token_id", nullptr},
      {"pad_token_id", nullptr},
      {"pretraining_tp", 1},
      {"use_cache", true},
      {"torch_dtype", config.dtype == kernels::DType::kBF16 ? "bfloat16" : "float32"},
  };
  return json.dump(2) + '\n';
}

HfLlamaLayerNames HfLlamaLayer(int64_t layer) {
  const auto name = [layer](const char* part) {
    return fmt::format("model.layers.{}.{}.weight", layer, part);
  };
  return {
      .input_layernorm = name("input_layernorm"),
      .q_proj = name("self_attn.q_proj"),
      .k_proj = name("self_attn.k_proj"),
      .v_proj = name("self_attn.v_proj"),
      .o_proj = name("self_attn.o_proj"),
      .post_attention_layernorm = name("post_attention_layernorm"),
      .gate_proj = name("mlp.gate_proj"),
      .up_proj = name("mlp.up_proj"),
      .down_proj = name("mlp.down_proj"),
  };
}

std::vector<HfLlamaParameter> HfLlamaParameters(const HfLlamaConfig& config) {
  const int64_t hidden = config.hidden_size, inner = config.intermediate_size;
  const int64_t queries = config.num_attention_heads * config.head_dim;
  const int64_t keys = config.num_key_value_heads * config.head_dim;
  std::vector<HfLlamaParameter> parameters = {{kHfLlamaEmbedding, {config.vocab_size, hidden}}};
  for (int64_t layer = 0; layer < config.num_hidden_layers; ++layer) {
    const HfLlamaLayerNames names = HfLlamaLayer(layer);
    parameters.insert(parameters.end(), {
                                            {names.input_layernorm, {hidden}},
                                            {names.q_proj, {queries, hidden}},
                                            {names.k_proj, {keys, hidden}},
                                            {names.v_proj, {keys, hidden}},
                                            {names.o_proj, {hidden, queries}},
                                            {names.post_attention_layernorm, {hidden}},
                                            {names.gate_proj, {inner, hidden}},
                                            {names.up_proj, {inner, hidden}},
                                            {names.down_proj, {hidden, inner}},
                                        });
  }
  parameters.push_back({kHfLlamaFinalNorm, {hidden}});
  if (!config.tie_word_embeddings)
    parameters.push_back({kHfLlamaHead, {config.vocab_size, hidden}});
  return parameters;
}

}  // namespace annulus::runtime
