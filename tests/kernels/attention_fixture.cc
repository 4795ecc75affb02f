#include "tests/kernels/attention_fixture.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "kernels/base/bfloat16.h"
#include "kernels/cpu/attention/fused_attention.h"

namespace annulus::kernels::cpu {
namespace {

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

// 64-byte aligned memory of exactly `bytes`, so that a sanitizer sees the first byte too many.
class Memory {
 public:
  explicit Memory(int64_t bytes)
      : data_(::operator new (static_cast<size_t>(bytes), std::align_val_t{64})), bytes_(bytes) {
    std::memset(data_, 0xff, static_cast<size_t>(bytes));  // every float a NaN
  }
  ~Memory() { ::operator delete (data_, std::align_val_t{64}); }
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;

  View view() const { return View(data_, DType::kByte, {bytes_}); }

 private:
  void* data_;
  int64_t bytes_;
};

// A tensor of floats as a problem of some dtype holds it.
class Stored {
 public:
  Stored(DType dtype, const std::vector<float>& values)
      : dtype_(dtype), floats_(values), halves_(dtype == DType::kBF16 ? values.size() : 0) {
    for (size_t i = 0; i < halves_.size(); ++i) halves_[i] = ToBFloat16(values[i]);
  }

  View view(std::initializer_list<int64_t> dims) {
    if (dtype_ == DType::kF32) return View(floats_.data(), dtype_, dims);
    return View(halves_.data(), dtype_, dims);
  }
  std::vector<float> Floats() {
    for (size_t i = 0; i < halves_.size(); ++i) floats_[i] = ToFloat(halves_[i]);
    return floats_;
  }

 private:
  DType dtype_;
  std::vector<float> floats_;
  std::vector<BFloat16> halves_;
};

std::vector<float> Poisoned(size_t count) { return std::vector<float>(count, kNaN); }

// Tokens [token, token + count) of a tensor [B,S,Hkv,D], as a tensor of their own.
class BlockCopy {
 public:
  BlockCopy(const AttentionProblem& p, int64_t all_tokens, int64_t token, int64_t count)
      : row_(p.kv_heads * p.head_dim),
        batch_(p.batch),
        all_(all_tokens),
        token_(token),
        count_(count) {}

  std::vector<float> Take(const std::vector<float>& whole) const {
    std::vector<float> part;
    for (int64_t b = 0; b < batch_; ++b) {
      const auto from = whole.begin() + (b * all_ + token_) * row_;
      part.insert(part.end(), from, from + count_ * row_);
    }
    return part;
  }
  void Put(const std::vector<float>& part, std::vector<float>* whole) const {
    for (int64_t b = 0; b < batch_; ++b) {
      std::copy_n(part.begin() + b * count_ * row_, count_ * row_,
                  whole->begin() + (b * all_ + token_) * row_);
    }
  }

 private:
  int64_t row_, batch_, all_, token_, count_;
};

class Runner {
 public:
  Runner(const AttentionCase& c, const FusedAttention& fused)
      : c_(c), p_(c.inputs.problem), fused_(fused) {}

  AttentionResult Run() {
    Forward();
    Backward();
    return std::move(result_);
  }

 private:
  Stored Query(const std::vector<float>& values) const { return {p_.dtype, values}; }
  View AsQuery(Stored& x) const {
    return x.view({p_.batch, p_.query_tokens(), p_.heads, p_.head_dim});
  }
  View AsKey(Stored& x, int64_t tokens) const {
    return x.view({p_.batch, tokens, p_.kv_heads, p_.head_dim});
  }
  View Lse(std::vector<float>& x) const {
    return View(x.data(), DType::kF32, {p_.batch, p_.heads, p_.query_tokens()});
  }
  View Gradient(std::vector<float>& x, int64_t tokens) const {
    return View(x.data(), DType::kF32, {p_.batch, tokens, p_.kv_heads, p_.head_dim});
  }

  // Calls visit(block, copy) with the tensors of each block.
  template <class Visit>
  void ForEachBlock(Visit visit) {
    int64_t token = 0;
    for (const Positions& positions : c_.blocks) {
      const int64_t count = positions.tokens();
      const BlockCopy copy(p_, c_.inputs.keys.tokens(), token, count);
      Stored k(p_.dtype, copy.Take(c_.inputs.k)), v(p_.dtype, copy.Take(c_.inputs.v));
      visit(KeyBlock{AsKey(k, count), AsKey(v, count), positions}, copy);
      token += count;
    }
  }

  void Forward() {
    const Memory state(fused_.ForwardStateBytes(p_));
    Stored q = Query(c_.inputs.q), out = Query(Poisoned(c_.inputs.q.size()));
    const AttentionForwardArgs args{p_, AsQuery(q), state.view(), c_.meanwhile};
    fused_.ForwardBegin(args);
    ForEachBlock([&](const KeyBlock& block, const BlockCopy&) {
      const Memory scratch(fused_.ForwardScratchBytes(p_, block.positions.tokens()));
      fused_.ForwardFold(args, block, scratch.view());
    });
    result_.output.lse = Poisoned(static_cast<size_t>(p_.batch * p_.heads * p_.query_tokens()));
    fused_.ForwardFinish(args, AsQuery(out), Lse(result_.output.lse));
    result_.output.out = out.Floats();
  }

  void Backward() {
    const Memory state(fused_.BackwardStateBytes(p_));
    Stored q = Query(c_.inputs.q), out = Query(result_.output.out), dout = Query(c_.dout),
           dq = Query(Poisoned(c_.inputs.q.size()));
    const AttentionBackwardArgs args{
        p_,           AsQuery(q),  AsQuery(out), AsQuery(dout), Lse(result_.output.lse),
        state.view(), c_.meanwhile};
    fused_.BackwardBegin(args);
    result_.gradients.dk = Poisoned(c_.inputs.k.size());
    result_.gradients.dv = Poisoned(c_.inputs.v.size());
    ForEachBlock([&](const KeyBlock& block, const BlockCopy& copy) {
      const Memory scratch(fused_.BackwardScratchBytes(p_, block.positions.tokens()));
      const int64_t tokens = block.positions.tokens();
      std::vector<float> dk(static_cast<size_t>(block.k.size()), c_.gradient_start), dv(dk);
      fused_.BackwardFold(args, block, {Gradient(dk, tokens), Gradient(dv, tokens)},
                          scratch.view());
      copy.Put(dk, &result_.gradients.dk);
      copy.Put(dv, &result_.gradients.dv);
    });
    fused_.BackwardFinish(args, AsQuery(dq));
    result_.gradients.dq = dq.Floats();
  }

  const AttentionCase& c_;
  const AttentionProblem& p_;
  FusedAttention fused_;
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

bool SameBits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() &&
         (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0);
}

void ExpectSameBits(const AttentionResult& a, const AttentionResult& b) {
  EXPECT_TRUE(SameBits(a.output.out, b.output.out));
  EXPECT_TRUE(SameBits(a.output.lse, b.output.lse));
  EXPECT_TRUE(SameBits(a.gradients.dq, b.gradients.dq));
  EXPECT_TRUE(SameBits(a.gradients.dk, b.gradients.dk));
  EXPECT_TRUE(SameBits(a.gradients.dv, b.gradients.dv));
}

}  // namespace

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

AttentionResult RunFused(const AttentionCase& c, const TileKernels& tiles, int threads,
                         const CacheSizes& caches) {
  return Runner(c, FusedAttention(tiles, threads, caches)).Run();
}

void ExpectAccurate(const AttentionCase& c, const Tolerance& tolerance, const CacheSizes& caches) {
  const auto output = reference::AttentionForward<double>(c.inputs);
  const auto plain_output = reference::AttentionForward<float>(c.inputs);
  auto gradients = reference::AttentionBackward<double>(c.inputs, c.dout);
  auto plain_gradients = reference::AttentionBackward<float>(c.inputs, c.dout);
  for (auto* x : {&gradients.dk, &gradients.dv}) {
    for (double& value : *x) value += double{c.gradient_start};
  }
  for (auto* x : {&plain_gradients.dk, &plain_gradients.dv}) {
    for (float& value : *x) value += c.gradient_start;
  }
  const Terms terms(c, tolerance.norm);
  const auto expect = [&](const Tensor& t) { ExpectWithin(tolerance, t); };
  for (const TileKernels* tiles : RunnableTileKernels(c.inputs.problem.dtype)) {
    SCOPED_TRACE(tiles->isa);
    const AttentionResult fused = RunFused(c, *tiles, 1, caches);
    expect({"out", fused.output.out, plain_output.out, output.out, terms.out, terms.logit});
    expect({"lse", fused.output.lse, plain_output.lse, output.lse, 0, 0});
    expect({"dq", fused.gradients.dq, plain_gradients.dq, gradients.dq, terms.dq, terms.logit});
    expect({"dk", fused.gradients.dk, plain_gradients.dk, gradients.dk, terms.dk, terms.logit});
    expect({"dv", fused.gradients.dv, plain_gradients.dv, gradients.dv, terms.dv, terms.logit});
    for (int threads : {2, 3}) ExpectSameBits(fused, RunFused(c, *tiles, threads, caches));
  }
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

}  // namespace annulus::kernels::cpu
