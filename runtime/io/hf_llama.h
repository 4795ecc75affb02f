// How Hugging Face stores a Llama: config.json, and the names and shapes in model.safetensors.
//
// Weights of linear layers are [out, in]; rotary embedding pairs element i with i + head_dim/2, as
// kernels/ does, so weights are exported as they are. Written beside each other in one directory,
// the two files are what transformers' LlamaForCausalLM.from_pretrained loads.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "kernels/base/dtype.h"

namespace annulus::runtime {

// The members bear config.json's names.
struct HfLlamaConfig {
  int64_t hidden_size = 0;
  int64_t intermediate_size = 0;
  int64_t num_hidden_layers = 0;
  int64_t num_attention_heads = 0;
  int64_t num_key_value_heads = 0;
  int64_t head_dim = 0;
  int64_t vocab_size = 0;
  int64_t max_position_embeddings = 0;
  double rope_theta = 10000.0;
  double rms_norm_eps = 1e-5;
  double initializer_range = 0.02;
  bool tie_word_embeddings = false;
  kernels::DType dtype = kernels::DType::kF32;  // f32 or bf16, as model.safetensors stores it
};

// config.json: a model without biases, special tokens or dropout.
std::string HfLlamaConfigJson(const HfLlamaConfig& config);

// Parameter names of one layer.
struct HfLlamaLayerNames {
  std::string input_layernorm;           // [hidden_size]
  std::string q_proj;                    // [num_attention_heads * head_dim, hidden_size]
  std::string k_proj;                    // [num_key_value_heads * head_dim, hidden_size]
  std::string v_proj;                    // [num_key_value_heads * head_dim, hidden_size]
  std::string o_proj;                    // [hidden_size, num_attention_heads * head_dim]
  std::string post_attention_layernorm;  // [hidden_size]
  std::string gate_proj;                 // [intermediate_size, hidden_size]
  std::string up_proj;                   // [intermediate_size, hidden_size]
  std::string down_proj;                 // [hidden_size, intermediate_size]
};
HfLlamaLayerNames HfLlamaLayer(int64_t layer);

inline constexpr const char* kHfLlamaEmbedding = "model.embed_tokens.weight";  // [vocab, hidden]
inline constexpr const char* kHfLlamaFinalNorm = "model.norm.weight";          // [hidden_size]
inline constexpr const char* kHfLlamaHead = "lm_head.weight";  // [vocab, hidden], absent if tied

struct HfLlamaParameter {
  std::string name;
  std::vector<int64_t> shape;
};

// Every parameter of such a model, in the order of its forward pass.
std::vector<HfLlamaParameter> HfLlamaParameters(const HfLlamaConfig& config);

}  // namespace annulus::runtime
