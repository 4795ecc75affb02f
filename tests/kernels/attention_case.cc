#include "tests/kernels/attention_case.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "kernels/base/bfloat16.h"

namespace annulus::kernels {
namespace {

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

// `bytes` of a target's memory, every float a NaN.
View Memory(AttentionTarget& target, int64_t bytes) {
  const std::vector<unsigned char> poison(static_cast<size_t>(bytes), kPoison);
  void* memory = target.Allocate(bytes);
  target.Upload(poison.data(), memory, bytes);
  return View(memory, DType::kByte, {bytes});
}

// A tensor of floats as a problem of some dtype holds it, in a target's memory.
class Stored {
 public:
  Stored(AttentionTarget& target, DType dtype, const std::vector<float>& values)
      : target_(target), dtype_(dtype), count_(values.size()) {
    data_ = target.Allocate(bytes());
    if (dtype == DType::kF32) {
      target.Upload(values.data(), data_, bytes());
      return;
    }
    std::vector<BFloat16> halves(count_);
    for (size_t i = 0; i < count_; ++i) halves[i] = ToBFloat16(values[i]);
    target.Upload(halves.data(), data_, bytes());
  }

  View view(std::initializer_list<int64_t> dims) const { return View(data_, dtype_, dims); }
  std::vector<float> Floats() const {
    std::vector<float> floats(count_);
    if (dtype_ == DType::kF32) {
      target_.Download(data_, floats.data(), bytes());
      return floats;
    }
    std::vector<BFloat16> halves(count_);
    target_.Download(data_, halves.data(), bytes());
    for (size_t i = 0; i < count_; ++i) floats[i] = ToFloat(halves[i]);
    return floats;
  }

 private:
  int64_t bytes() const { return static_cast<int64_t>(count_) * SizeOf(dtype_); }

  AttentionTarget& target_;
  DType dtype_;
  size_t count_;
  void* data_;
};

std::vector<float> Poisoned(size_t count) { return std::vector<float>(count, kNaN); }

bool SameBits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() &&
         (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0);
}

void ExpectSameOutput(const reference::AttentionOutput<float>& a,
                      const reference::AttentionOutput<float>& b) {
  EXPECT_TRUE(SameBits(a.out, b.out));
  EXPECT_TRUE(SameBits(a.lse, b.lse));
}

// Tokens [token, token + count) of a tensor [B,S,Hkv,D], as the end of sequences that are longer by
// kGap tokens of NaNs: a block may be a part of one.
class BlockCopy {
 public:
  static constexpr int64_t kGap = 3;

  BlockCopy(const AttentionProblem& p, int64_t all_tokens, int64_t token, int64_t count)
      : row_(p.kv_heads * p.head_dim),
        batch_(p.batch),
        all_(all_tokens),
        token_(token),
        count_(count) {}

  std::vector<float> Take(const std::vector<float>& whole) const {
    std::vector<float> part = Filled(0);
    for (int64_t b = 0; b < batch_; ++b) {
      std::copy_n(whole.begin() + (b * all_ + token_) * row_, count_ * row_,
                  part.begin() + Begin(b) + kGap * row_);
    }
    return part;
  }
  std::vector<float> Filled(float value) const {
    std::vector<float> part(static_cast<size_t>(Begin(batch_)), value);
    for (int64_t b = 0; b < batch_; ++b) std::fill_n(part.begin() + Begin(b), kGap * row_, kNaN);
    return part;
  }
  // The gaps must be as they were.
  void Put(const std::vector<float>& part, std::vector<float>* whole) const {
    for (int64_t b = 0; b < batch_; ++b) {
      const auto gap = part.begin() + Begin(b), tokens = gap + kGap * row_;
      EXPECT_TRUE(std::all_of(gap, tokens, [](float x) { return std::isnan(x); }));
      std::copy_n(tokens, count_ * row_, whole->begin() + (b * all_ + token_) * row_);
    }
  }

 private:
  // Of a sequence's gap, in elements.
  int64_t Begin(int64_t b) const { return b * (kGap + count_) * row_; }

  int64_t row_, batch_, all_, token_, count_;
};

class Runner {
 public:
  Runner(const AttentionCase& c, AttentionTarget& target)
      : c_(c), p_(c.inputs.problem), target_(target) {}

  AttentionResult Run() {
    result_.output = Forward(/*last=*/false);
    ExpectSameOutput(result_.output, Forward(/*last=*/true));
    Backward();
    return std::move(result_);
  }

 private:
  Stored Query(const std::vector<float>& values) const { return {target_, p_.dtype, values}; }
  Stored F32(const std::vector<float>& values) const { return {target_, DType::kF32, values}; }
  View AsQuery(const Stored& x) const {
    return x.view({p_.batch, p_.query_tokens(), p_.heads, p_.head_dim});
  }
  View AsKey(const Stored& x, int64_t tokens) const {
    constexpr int64_t kGap = BlockCopy::kGap;
    return x.view({p_.batch, kGap + tokens, p_.kv_heads, p_.head_dim}).Slice(1, kGap, tokens);
  }
  View AsRows(const Stored& x) const { return x.view({p_.batch, p_.heads, p_.query_tokens()}); }

  // Calls visit(block, copy) with the tensors of each block.
  template <class Visit>
  void ForEachBlock(Visit visit) {
    int64_t token = 0;
    for (const Positions& positions : c_.blocks) {
      const int64_t count = positions.tokens();
      const BlockCopy copy(p_, c_.inputs.keys.tokens(), token, count);
      const Stored k = Query(copy.Take(c_.inputs.k)), v = Query(copy.Take(c_.inputs.v));
      visit(KeyBlock{AsKey(k, count), AsKey(v, count), positions}, copy);
      token += count;
    }
  }

  // Finished by the last block's fold if `last`, where there is a block.
  reference::AttentionOutput<float> Forward(bool last) {
    const Stored q = Query(c_.inputs.q), out = Query(Poisoned(c_.inputs.q.size()));
    const Stored lse = F32(Poisoned(static_cast<size_t>(p_.batch * p_.heads * p_.query_tokens())));
    const AttentionForwardArgs args{p_, AsQuery(q), Memory(target_, target_.ForwardStateBytes(p_)),
                                    c_.meanwhile};
    const AttentionOutputs outputs{AsQuery(out), AsRows(lse)};
    target_.ForwardBegin(args);
    size_t folds_left = c_.blocks.size();
    ForEachBlock([&](const KeyBlock& block, const BlockCopy&) {
      const View scratch =
          Memory(target_, target_.ForwardScratchBytes(p_, block.positions.tokens()));
      if (--folds_left == 0 && last) {
        target_.ForwardLast(args, block, outputs, scratch);
      } else {
        target_.ForwardFold(args, block, scratch);
      }
    });
    if (!last || c_.blocks.empty()) target_.ForwardFinish(args, outputs);
    result_.state.resize(static_cast<size_t>(args.state.size_bytes()));
    target_.Download(args.state.data, result_.state.data(), args.state.size_bytes());
    return {out.Floats(), lse.Floats()};
  }

  void Backward() {
    const Stored q = Query(c_.inputs.q), out = Query(result_.output.out), dout = Query(c_.dout),
                 dq = Query(Poisoned(c_.inputs.q.size())), lse = F32(result_.output.lse);
    const AttentionBackwardArgs args{p_,           AsQuery(q),
                                     AsQuery(out), AsQuery(dout),
                                     AsRows(lse),  Memory(target_, target_.BackwardStateBytes(p_)),
                                     c_.meanwhile};
    target_.BackwardBegin(args);
    result_.gradients.dk = Poisoned(c_.inputs.k.size());
    result_.gradients.dv = Poisoned(c_.inputs.v.size());
    ForEachBlock([&](const KeyBlock& block, const BlockCopy& copy) {
      const int64_t tokens = block.positions.tokens();
      const Stored dk = F32(copy.Filled(c_.gradient_start)),
                   dv = F32(copy.Filled(c_.gradient_start));
      target_.BackwardFold(args, block, {AsKey(dk, tokens), AsKey(dv, tokens)},
                           Memory(target_, target_.BackwardScratchBytes(p_, tokens)));
      copy.Put(dk.Floats(), &result_.gradients.dk);
      copy.Put(dv.Floats(), &result_.gradients.dv);
    });
    target_.BackwardFinish(args, AsQuery(dq));
    result_.gradients.dq = dq.Floats();
  }

  const AttentionCase& c_;
  const AttentionProblem& p_;
  AttentionTarget& target_;
  AttentionResult result_;
};

// Gathers magnitudes by a norm.
class Gauge {
 public:
  explicit Gauge(Norm norm) : norm_(norm) {}

  void Add(double magnitude) {
    largest_ = std::max(largest_, magnitude);
    squares_ += magnitude * magnitude;
    ++count_;
  }
  double value() const {
    if (norm_ == Norm::kLargest || count_ == 0) return largest_;
    return std::sqrt(squares_ / static_cast<double>(count_));
  }

 private:
  Norm norm_;
  double largest_ = 0, squares_ = 0;
  int64_t count_ = 0;
};

// Of the absolute differences; equal infinities differ by nothing, a NaN by infinity.
double ErrorOf(const std::vector<float>& values, const std::vector<double>& truth, Norm norm) {
  EXPECT_EQ(values.size(), truth.size());
  Gauge gauge(norm);
  for (size_t i = 0; i < values.size(); ++i) {
    const double e = double{values[i]} == truth[i] ? 0 : std::abs(double{values[i]} - truth[i]);
    gauge.Add(std::isfinite(e) ? e : std::numeric_limits<double>::infinity());
  }
  return gauge.value();
}

double MagnitudeOf(const std::vector<double>& values, Norm norm) {
  Gauge gauge(norm);
  for (double x : values) {
    if (std::isfinite(x)) gauge.Add(std::abs(x));
  }
  return gauge.value();
}

// Of the Euclidean lengths of rows of `dim` elements.
double RowLength(const std::vector<float>& values, int64_t dim, Norm norm) {
  Gauge gauge(norm);
  for (size_t row = 0; row < values.size(); row += static_cast<size_t>(dim)) {
    double squares = 0;
    for (size_t i = row; i < row + static_cast<size_t>(dim); ++i) {
      squares += double{values[i]} * double{values[i]};
    }
    gauge.Add(std::sqrt(squares));
  }
  return gauge.value();
}

// The size of the terms of each output's sums: by the largest, bounds of them; by the root mean
// square, what it is of inputs drawn at random, whose products add up as random walks do. Sums over
// queries count as random walks in either case.
struct Terms {
  Terms(const AttentionCase& c, Norm norm) {
    const AttentionProblem& p = c.inputs.problem;
    const double spread = norm == Norm::kLargest ? 1 : std::sqrt(static_cast<double>(p.head_dim));
    const auto length = [&](const std::vector<float>& x) { return RowLength(x, p.head_dim, norm); };
    const double q = length(c.inputs.q), k = length(c.inputs.k), upstream = length(c.dout);
    const double walk = std::sqrt(static_cast<double>(p.query_tokens()));
    logit = double{p.scale} * q * k / spread;
    out = length(c.inputs.v) / spread;
    const double dscore = 2 * double{p.scale} * upstream * out;
    dq = dscore * k / spread;
    dk = dscore * q / spread * walk;
    dv = upstream / spread * walk;
  }
  double logit, out, dq, dk, dv;
};

struct Tensor {
  const char* name;
  const std::vector<float>& fused;
  const std::vector<float>& plain;
  const std::vector<double>& truth;
  double terms;
  double logit;  // of the probabilities in it
};

// Numbers below the least normal one count as 0.
void ExpectWithin(const Tolerance& tolerance, const Tensor& t) {
  const Norm norm = tolerance.norm;
  const double magnitude = MagnitudeOf(t.truth, norm);
  double margin = tolerance.floor * magnitude + double{std::numeric_limits<float>::min()};
  if (tolerance.terms > 0) {
    margin += tolerance.terms * t.terms + Tolerance().floor * t.logit * magnitude;
  }
  EXPECT_LE(ErrorOf(t.fused, t.truth, norm),
            tolerance.plain_errors * ErrorOf(t.plain, t.truth, norm) + margin)
      << t.name;
}

}  // namespace

void ExpectSameBits(const AttentionResult& a, const AttentionResult& b) {
  ExpectSameOutput(a.output, b.output);
  EXPECT_TRUE(SameBits(a.gradients.dq, b.gradients.dq));
  EXPECT_TRUE(SameBits(a.gradients.dk, b.gradients.dk));
  EXPECT_TRUE(SameBits(a.gradients.dv, b.gradients.dv));
}

AttentionCase MakeCase(const AttentionProblem& problem, const std::vector<Positions>& blocks,
                       uint32_t seed) {
  Positions keys;
  for (const Positions& block : blocks) {
    for (int r = 0; r < block.runs(); ++r) keys.Append(block.run(r));
  }
  AttentionCase c{reference::RandomAttentionInputs(problem, keys, seed), blocks, {}, 0};
  c.dout = reference::RandomNormal(c.inputs.query_elements(), seed + 3);
  reference::RoundTo(problem.dtype, &c.dout);
  return c;
}

AttentionResult RunAttention(const AttentionCase& c, AttentionTarget& target) {
  return Runner(c, target).Run();
}

AttentionTruth::AttentionTruth(const AttentionCase& c)
    : case_(c),
      output_(reference::AttentionForward<double>(c.inputs)),
      plain_output_(reference::AttentionForward<float>(c.inputs)),
      gradients_(reference::AttentionBackward<double>(c.inputs, c.dout)),
      plain_gradients_(reference::AttentionBackward<float>(c.inputs, c.dout)) {
  for (auto* x : {&gradients_.dk, &gradients_.dv}) {
    for (double& value : *x) value += double{c.gradient_start};
  }
  for (auto* x : {&plain_gradients_.dk, &plain_gradients_.dv}) {
    for (float& value : *x) value += c.gradient_start;
  }
}

void AttentionTruth::Expect(const AttentionResult& fused, const Tolerance& tolerance) const {
  const Terms terms(case_, tolerance.norm);
  const auto expect = [&](const Tensor& t) { ExpectWithin(tolerance, t); };
  const auto& gradients = fused.gradients;
  expect({"out", fused.output.out, plain_output_.out, output_.out, terms.out, terms.logit});
  expect({"lse", fused.output.lse, plain_output_.lse, output_.lse, 0, 0});
  expect({"dq", gradients.dq, plain_gradients_.dq, gradients_.dq, terms.dq, terms.logit});
  expect({"dk", gradients.dk, plain_gradients_.dk, gradients_.dk, terms.dk, terms.logit});
  expect({"dv", gradients.dv, plain_gradients_.dv, gradients_.dv, terms.dv, terms.logit});
}

AttentionProblem MakeProblem(const Mask& mask, const Positions& queries, int64_t head_dim) {
  AttentionProblem problem;
  problem.heads = 2;
  problem.head_dim = head_dim;
  problem.scale = 1.0f / std::sqrt(static_cast<float>(head_dim));
  problem.queries = queries;
  problem.mask = mask;
  return problem;
}

Mask MakeMask(MaskKind kind, int64_t length) {
  static const std::vector<int64_t> kStarts = {0, 1, 30, 31, 97, 180};
  Mask mask;
  mask.kind = kind;
  mask.length = length;
  mask.window = 41;
  mask.document_starts = kStarts;
  mask.blocks = {.block_tokens = 24, .window_blocks = 1, .global_blocks = 1, .random_blocks = 1};
  return mask;
}

std::vector<MaskKind> AllMaskKinds() {
  return {MaskKind::kFull, MaskKind::kCausal, MaskKind::kWindow, MaskKind::kDocuments,
          MaskKind::kBlockSparse};
}

std::string TestName(MaskKind kind) {
  std::string name(NameOf(kind));
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
}

}  // namespace annulus::kernels
