// The parameters of a decoder: names, shapes and where they lie in one flat tensor.
//
// Working parameters, master weights, gradients and both moments of the optimizer share the layout,
// so that an all-reduce, a norm or an update is one call over a flat tensor.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "kernels/base/view.h"
#include "runtime/io/hf_llama.h"
#include "runtime/model/decoder_shape.h"

namespace annulus::runtime {

using kernels::ConstView;
using kernels::View;

// Weights are [out, in], as Hugging Face stores them.
struct LayerTensors {
  View input_layernorm;           // [C]
  View q_proj;                    // [H*D, C]
  View k_proj;                    // [Hkv*D, C]
  View v_proj;                    // [Hkv*D, C]
  View o_proj;                    // [C, H*D]
  View post_attention_layernorm;  // [C]
  View gate_proj;                 // [F, C]
  View up_proj;                   // [F, C]
  View down_proj;                 // [C, F]
};

struct DecoderTensors {
  View embed_tokens;  // [V, C]
  std::vector<LayerTensors> layers;
  View norm;     // [C]
  View lm_head;  // [V, C]; embed_tokens itself when tied
};

struct ParameterSpec {
  std::string name;  // as in a Hugging Face Llama checkpoint
  std::vector<int64_t> shape;
  int64_t offset = 0;     // elements into the flat tensor
  int64_t size = 0;       // elements
  float initial_std = 0;  // 0: a norm's weight, initially 1
};

// The model as config.json describes it.
HfLlamaConfig ToHfLlama(const DecoderShape& shape, int64_t max_positions);

class ParameterLayout {
 public:
  explicit ParameterLayout(const DecoderShape& shape);

  const std::vector<ParameterSpec>& specs() const { return specs_; }
  // Of the flat tensor: every parameter starts on a cache line, the gaps stay zero.
  int64_t elements() const { return elements_; }
  // Matrices, which weight decay applies to, come before this offset, norms after it.
  int64_t decayed_elements() const { return decayed_elements_; }
  int64_t parameter_count() const;

  // The tensors within `flat` [elements()].
  DecoderTensors Bind(View flat) const;
  // One parameter within `flat`, one-dimensional.
  static View Slice(const ParameterSpec& spec, View flat) {
    return flat.Slice(0, spec.offset, spec.size);
  }

 private:
  void Add(const HfLlamaParameter& parameter, float initial_std);
  View Find(View flat, const std::string& name) const;

  DecoderShape shape_;
  std::vector<ParameterSpec> specs_;
  int64_t elements_ = 0;
  int64_t decayed_elements_ = 0;
};

// Initial values of `spec` from element `first` on, which must be even: normal with the parameter's
// standard deviation, a pure function of seed, name and element. Norms are 1.
void FillInitialValues(const ParameterSpec& spec, uint64_t seed, int64_t first,
                       std::span<float> values);

}  // namespace annulus::runtime
