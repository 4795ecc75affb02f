#include "tests/reference/decoder_reference.h"

#include <cmath>

namespace annulus::reference {
namespace {

using Row = std::vector<double>;
using Rows = std::vector<Row>;

Row Multiply(const std::vector<double>& weight, const Row& x) {  // weight [out, in]
  Row y(weight.size() / x.size(), 0.0);
  for (size_t o = 0; o < y.size(); ++o) {
    for (size_t i = 0; i < x.size(); ++i) y[o] += weight[o * x.size() + i] * x[i];
  }
  return y;
}

Row Norm(const Row& x, const std::vector<double>& weight, double eps) {
  double squares = 0;
  for (double v : x) squares += v * v;
  const double rstd = 1 / std::sqrt(squares / static_cast<double>(x.size()) + eps);
  Row y(x.size());
  for (size_t i = 0; i < x.size(); ++i) y[i] = x[i] * rstd * weight[i];
  return y;
}

void Rotate(Row& heads, size_t head_dim, int64_t position, double theta) {
  const size_t half = head_dim / 2;
  for (size_t h = 0; h < heads.size(); h += head_dim) {
    for (size_t i = 0; i < half; ++i) {
      const double exponent = -2.0 * static_cast<double>(i) / static_cast<double>(head_dim);
      const double angle = static_cast<double>(position) * std::pow(theta, exponent);
      const double a = heads[h + i], b = heads[h + i + half];
      heads[h + i] = a * std::cos(angle) - b * std::sin(angle);
      heads[h + i + half] = b * std::cos(angle) + a * std::sin(angle);
    }
  }
}

double Dot(const double* a, const double* b, size_t n) {
  double sum = 0;
  for (size_t i = 0; i < n; ++i) sum += a[i] * b[i];
  return sum;
}

struct Projections {
  Rows q, k, v;
};

// One query's attention over all keys that the mask allows, head by head.
Row Attend(const runtime::DecoderShape& shape, const kernels::Mask& mask, const Projections& p,
           size_t query) {
  const auto heads = static_cast<size_t>(shape.num_attention_heads);
  const auto dim = static_cast<size_t>(shape.head_dim);
  const size_t group = heads / static_cast<size_t>(shape.num_key_value_heads);
  Row out(heads * dim, 0.0);
  for (size_t h = 0; h < heads; ++h) {
    const size_t kv = h / group * dim;
    std::vector<double> weight(p.k.size(), 0.0);
    double total = 0;
    for (size_t j = 0; j < p.k.size(); ++j) {
      if (!mask.Allows(static_cast<int64_t>(query), static_cast<int64_t>(j))) continue;
      const double score = Dot(&p.q[query][h * dim], &p.k[j][kv], dim);
      weight[j] = std::exp(score / std::sqrt(static_cast<double>(dim)));
      total += weight[j];
    }
    for (size_t j = 0; j < p.k.size() && total > 0; ++j) {
      for (size_t d = 0; d < dim; ++d) out[h * dim + d] += weight[j] / total * p.v[j][kv + d];
    }
  }
  return out;
}

void AddTo(Row& x, const Row& y) {
  for (size_t i = 0; i < x.size(); ++i) x[i] += y[i];
}

struct LayerWeights {
  const Parameters& parameters;
  std::string prefix;
  const std::vector<double>& operator[](const std::string& module) const {
    return parameters.at(prefix + module + ".weight");
  }
};

void RunLayer(const runtime::DecoderShape& shape, const LayerWeights& weight,
              const kernels::Mask& mask, Rows& x) {
  const double eps = static_cast<double>(shape.rms_norm_eps);
  Projections p;
  for (size_t t = 0; t < x.size(); ++t) {
    const Row normed = Norm(x[t], weight["input_layernorm"], eps);
    p.q.push_back(Multiply(weight["self_attn.q_proj"], normed));
    p.k.push_back(Multiply(weight["self_attn.k_proj"], normed));
    p.v.push_back(Multiply(weight["self_attn.v_proj"], normed));
    for (Row* heads : {&p.q.back(), &p.k.back()}) {
      Rotate(*heads, static_cast<size_t>(shape.head_dim), static_cast<int64_t>(t),
             shape.rope_theta);
    }
  }
  for (size_t t = 0; t < x.size(); ++t) {
    AddTo(x[t], Multiply(weight["self_attn.o_proj"], Attend(shape, mask, p, t)));
    const Row normed = Norm(x[t], weight["post_attention_layernorm"], eps);
    Row gate = Multiply(weight["mlp.gate_proj"], normed);
    const Row up = Multiply(weight["mlp.up_proj"], normed);
    for (size_t i = 0; i < gate.size(); ++i) gate[i] = gate[i] / (1 + std::exp(-gate[i])) * up[i];
    AddTo(x[t], Multiply(weight["mlp.down_proj"], gate));
  }
}

double CrossEntropy(const Row& logits, int32_t label) {
  double total = 0;
  for (double logit : logits) total += std::exp(logit);
  return std::log(total) - logits[static_cast<size_t>(label)];
}

}  // namespace

double DecoderLossSum(const runtime::DecoderShape& shape, const Parameters& parameters,
                      const kernels::Mask& mask, const ReferenceSequence& sequence) {
  const std::vector<double>& embedding = parameters.at("model.embed_tokens.weight");
  const auto hidden = static_cast<size_t>(shape.hidden_size);
  Rows x;
  for (int32_t token : sequence.tokens) {
    const auto row = embedding.begin() + static_cast<int64_t>(token) * shape.hidden_size;
    x.emplace_back(row, row + static_cast<int64_t>(hidden));
  }
  for (int64_t l = 0; l < shape.num_hidden_layers; ++l) {
    RunLayer(shape, {parameters, fmt::format("model.layers.{}.", l)}, mask, x);
  }
  const std::vector<double>& head =
      shape.tie_word_embeddings ? embedding : parameters.at("lm_head.weight");
  double loss = 0;
  for (size_t t = 0; t < x.size(); ++t) {
    if (sequence.labels[t] < 0) continue;
    const Row normed =
        Norm(x[t], parameters.at("model.norm.weight"), static_cast<double>(shape.rms_norm_eps));
    loss += CrossEntropy(Multiply(head, normed), sequence.labels[t]);
  }
  return loss;
}

}  // namespace annulus::reference
