// The sizes of a Llama-style decoder, all resolved; the names are those of Hugging Face's
// config.json.
#pragma once

#include <cstdint>

#include "kernels/base/dtype.h"

namespace annulus::runtime {

struct DecoderShape {
  int64_t hidden_size = 64;         // C
  int64_t num_hidden_layers = 2;    // L
  int64_t num_attention_heads = 2;  // H
  int64_t num_key_value_heads = 2;  // Hkv
  int64_t head_dim = 32;            // D
  int64_t intermediate_size = 176;  // F
  int64_t vocab_size = 256;         // V
  double rope_theta = 10000.0;
  float rms_norm_eps = 1e-5f;
  bool tie_word_embeddings = false;
  // Of working parameters, activations and their gradients; f32 or bf16. Parameter gradients, the
  // optimizer's state and its master weights are f32, whatever this says.
  kernels::DType dtype = kernels::DType::kF32;
  // Standard deviations of the initial weights.
  float initializer_range = 0.02f;
  float embedding_initializer_range = 0.02f;

  int64_t query_size() const { return num_attention_heads * head_dim; }
  int64_t kv_size() const { return num_key_value_heads * head_dim; }
};

}  // namespace annulus::runtime
