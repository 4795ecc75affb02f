#include "tests/reference/decoder_plain.h"

#include <fmt/format.h>

#include <cmath>

#include "tests/reference/attention_reference.h"
#include "tests/reference/layer_reference.h"

namespace annulus::reference {
namespace {

using Values = std::vector<float>;

Values Transposed(const Values& m, int64_t columns) {
  const size_t width = static_cast<size_t>(columns), height = m.size() / width;
  Values t(m.size());
  for (size_t r = 0; r < height; ++r) {
    for (size_t c = 0; c < width; ++c) t[c * height + r] = m[r * width + c];
  }
  return t;
}

Values Sum(Values a, const Values& b) {
  for (size_t i = 0; i < a.size(); ++i) a[i] += b[i];
  return a;
}

// What a layer keeps for its backward.
struct Kept {
  Values x, normed, q, k, v, attention, middle, middle_normed, gate, up, gated;
};

class PlainDecoder {
 public:
  PlainDecoder(const runtime::DecoderShape& shape, const FloatParameters& parameters,
               const kernels::Mask& mask, int64_t tokens)
      : shape_(shape), parameters_(parameters), tokens_(tokens) {
    const kernels::Positions all({0, 1, tokens});
    problem_ = {.heads = shape.num_attention_heads,
                .kv_heads = shape.num_key_value_heads,
                .head_dim = shape.head_dim,
                .scale = 1.0f / std::sqrt(static_cast<float>(shape.head_dim)),
                .dtype = shape.dtype,
                .queries = all,
                .mask = mask};
    std::vector<int64_t> positions;
    for (int64_t t = 0; t < tokens; ++t) positions.push_back(t);
    const RotaryTable table = RopeTable(positions, shape.rope_theta, shape.head_dim);
    cosine_.assign(table.cosine.begin(), table.cosine.end());
    sine_.assign(table.sine.begin(), table.sine.end());
    for (const auto& [name, values] : parameters) result_.gradients[name].assign(values.size(), 0);
  }

  PlainGradients Run(const ReferenceSequence& sequence) {
    const size_t hidden = static_cast<size_t>(shape_.hidden_size);
    const Values& embedding = Weight("model.embed_tokens");
    Values x;
    for (int32_t token : sequence.tokens) {
      const auto row = embedding.begin() + token * shape_.hidden_size;
      x.insert(x.end(), row, row + shape_.hidden_size);
    }
    std::vector<Kept> kept;
    for (int64_t l = 0; l < shape_.num_hidden_layers; ++l) x = Forward(Layer(l), x, kept);
    Values dx = Head(x, sequence.labels);
    for (int64_t l = shape_.num_hidden_layers; l-- > 0;) {
      const Kept& a = kept[static_cast<size_t>(l)];
      dx = BackwardAttention(Layer(l), a, BackwardMlp(Layer(l), a, dx));
    }
    Values& dembedding = result_.gradients["model.embed_tokens.weight"];
    for (size_t t = 0; t < sequence.tokens.size(); ++t) {
      const size_t row = static_cast<size_t>(sequence.tokens[t]) * hidden;
      for (size_t i = 0; i < hidden; ++i) dembedding[row + i] += dx[t * hidden + i];
    }
    return result_;
  }

 private:
  static std::string Layer(int64_t l) { return fmt::format("model.layers.{}.", l); }
  const Values& Weight(const std::string& module) const {
    return parameters_.at(module + ".weight");
  }
  Values Stored(Values values) const {
    RoundTo(shape_.dtype, &values);
    return values;
  }

  // x [N,in], weight [out,in].
  Values Linear(const std::string& module, const Values& x) const {
    const auto in = static_cast<int64_t>(x.size()) / tokens_;
    return MatMul<float>(x, Transposed(Weight(module), in), in);
  }
  // dy [N,out].
  Values LinearBackward(const std::string& module, const Values& dy, const Values& x) {
    const auto out = static_cast<int64_t>(dy.size()) / tokens_;
    Values& gradient = result_.gradients[module + ".weight"];
    gradient = Sum(gradient, MatMul<float>(Transposed(dy, out), x, tokens_));
    return MatMul<float>(dy, Weight(module), out);
  }
  Values Norm(const std::string& module, const Values& x) const {
    return Stored(RmsNorm<float>(x, Weight(module), shape_.rms_norm_eps).y);
  }
  Values NormBackward(const std::string& module, const Values& dy, const Values& x) {
    auto gradients = RmsNormBackward<float>(dy, x, Weight(module), shape_.rms_norm_eps);
    result_.gradients[module + ".weight"] = gradients.dweight;
    return gradients.dx;
  }
  Values Rotated(const Values& x, int64_t heads, bool inverse) const {
    Values sine = sine_;
    if (inverse) {
      for (float& s : sine) s = -s;
    }
    return Stored(Rope<float>(x, heads, cosine_, sine, tokens_));
  }
  AttentionInputs Inputs(const Kept& a) const {
    return {problem_, problem_.queries, a.q, a.k, a.v};
  }

  Values Forward(const std::string& layer, const Values& x, std::vector<Kept>& kept) const {
    Kept a;
    a.x = x;
    a.normed = Norm(layer + "input_layernorm", x);
    a.q = Rotated(Stored(Linear(layer + "self_attn.q_proj", a.normed)), problem_.heads, false);
    a.k = Rotated(Stored(Linear(layer + "self_attn.k_proj", a.normed)), problem_.kv_heads, false);
    a.v = Stored(Linear(layer + "self_attn.v_proj", a.normed));
    a.attention = AttentionForward<float>(Inputs(a)).out;
    a.middle = Stored(Sum(x, Linear(layer + "self_attn.o_proj", a.attention)));
    a.middle_normed = Norm(layer + "post_attention_layernorm", a.middle);
    a.gate = Stored(Linear(layer + "mlp.gate_proj", a.middle_normed));
    a.up = Stored(Linear(layer + "mlp.up_proj", a.middle_normed));
    a.gated = Stored(SwiGlu<float>(a.gate, a.up));
    Values output = Stored(Sum(a.middle, Linear(layer + "mlp.down_proj", a.gated)));
    kept.push_back(std::move(a));
    return output;
  }

  // The gradient of the last layer's output.
  Values Head(const Values& x, const std::vector<int32_t>& labels) {
    const std::string head = shape_.tie_word_embeddings ? "model.embed_tokens" : "lm_head";
    const Values normed = Norm("model.norm", x);
    const auto entropy = CrossEntropy<float>(Linear(head, normed), labels);
    for (float loss : entropy.loss) result_.loss += static_cast<double>(loss);
    const Values dnormed = Stored(LinearBackward(head, Stored(entropy.gradient), normed));
    return Stored(NormBackward("model.norm", dnormed, x));
  }

  Values BackwardMlp(const std::string& layer, const Kept& a, const Values& dx) {
    const Values dgated = Stored(LinearBackward(layer + "mlp.down_proj", dx, a.gated));
    const auto through = SwiGluBackward<float>(dgated, a.gate, a.up);
    Values dnormed =
        Stored(LinearBackward(layer + "mlp.gate_proj", Stored(through.dgate), a.middle_normed));
    dnormed = Stored(
        Sum(dnormed, LinearBackward(layer + "mlp.up_proj", Stored(through.dup), a.middle_normed)));
    return Stored(Sum(dx, NormBackward(layer + "post_attention_layernorm", dnormed, a.middle)));
  }

  Values BackwardAttention(const std::string& layer, const Kept& a, const Values& dx) {
    const Values dout = Stored(LinearBackward(layer + "self_attn.o_proj", dx, a.attention));
    const auto through = AttentionBackward<float>(Inputs(a), dout);
    const Values dq = Rotated(through.dq, problem_.heads, true);
    const Values dk = Rotated(through.dk, problem_.kv_heads, true);
    Values dnormed = Stored(LinearBackward(layer + "self_attn.q_proj", dq, a.normed));
    dnormed = Stored(Sum(dnormed, LinearBackward(layer + "self_attn.k_proj", dk, a.normed)));
    dnormed = Stored(
        Sum(dnormed, LinearBackward(layer + "self_attn.v_proj", Stored(through.dv), a.normed)));
    return Stored(Sum(dx, NormBackward(layer + "input_layernorm", dnormed, a.x)));
  }

  const runtime::DecoderShape& shape_;
  const FloatParameters& parameters_;
  int64_t tokens_;
  kernels::AttentionProblem problem_;
  Values cosine_, sine_;
  PlainGradients result_;
};

}  // namespace

PlainGradients PlainDecoderGradients(const runtime::DecoderShape& shape,
                                     const FloatParameters& parameters, const kernels::Mask& mask,
                                     const ReferenceSequence& sequence) {
  return PlainDecoder(shape, parameters, mask, static_cast<int64_t>(sequence.tokens.size()))
      .Run(sequence);
}

}  // namespace annulus::reference
