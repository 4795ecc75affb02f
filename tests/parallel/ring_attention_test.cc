// The ring driver against attention over the whole sequence in float64: every number of ranks,
// partition, mask and head sharing, at lengths that divide nothing.
#include "parallel/ring_attention.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <mutex>
#include <ostream>

#include "kernels/base/bfloat16.h"
#include "kernels/cpu/cpu_table.h"
#include "parallel/local_communicator.h"
#include "runtime/memory/arena.h"
#include "tests/reference/attention_reference.h"

namespace annulus::parallel {
namespace {

using kernels::DType;
using kernels::MemoryCategory;

struct Case {
  int ranks;
  PartitionKind partition;
  kernels::MaskKind mask;
  int64_t kv_heads;
  int64_t length;
  DType dtype = DType::kF32;

  friend void PrintTo(const Case& c, std::ostream* out) {
    std::string mask(kernels::NameOf(c.mask));
    std::replace(mask.begin(), mask.end(), '-', '_');
    *out << fmt::format("P{}_{}_{}_kv{}_n{}_{}", c.ranks, NameOf(c.partition), mask, c.kv_heads,
                        c.length, NameOf(c.dtype));
  }
};

// Ranks compute on one thread or on two: results may not depend on it. ThreadSanitizer does not see
// the barriers of GCC's OpenMP and would take what they order for races.
#ifdef __SANITIZE_THREAD__
constexpr int kMostThreads = 1;
#else
constexpr int kMostThreads = 2;
#endif

constexpr int64_t kHeads = 4;
constexpr int64_t kHeadDim = 20;
constexpr int64_t kBatch = 2;
// What padding tokens hold: finite, and ruinous wherever it leaks.
constexpr float kPadding = 1e3f;

// Where documents start in the first sequence of a batch and in the second, of any length.
const std::vector<int64_t> kFirstStarts = {0, 1, 40, 41, 42, 130};
const std::vector<int64_t> kSecondStarts = {0, 90};

// One mask for all sequences, or one for each where documents are masked.
std::vector<kernels::Mask> MasksOf(const Case& c) {
  const kernels::Mask mask{.kind = c.mask,
                           .length = c.length,
                           .window = c.length / 4 + 1,
                           .blocks = {.block_tokens = 10, .window_blocks = 1, .random_blocks = 2}};
  if (c.mask != kernels::MaskKind::kDocuments) return {mask};
  std::vector<kernels::Mask> masks(kBatch, mask);
  masks[0].document_starts = kFirstStarts;
  masks[1].document_starts = kSecondStarts;
  return masks;
}

// All tokens of the sequences, [B,n,heads,D].
struct Whole {
  explicit Whole(const Case& c)
      : length(c.length),
        shape{.batch = kBatch,
              .heads = kHeads,
              .kv_heads = c.kv_heads,
              .head_dim = kHeadDim,
              .scale = 1 / std::sqrt(static_cast<float>(kHeadDim))},
        masks(MasksOf(c)) {
    const kernels::Positions all({0, 1, length});
    inputs = reference::RandomAttentionInputs({.batch = kBatch,
                                               .heads = kHeads,
                                               .kv_heads = c.kv_heads,
                                               .head_dim = kHeadDim,
                                               .scale = shape.scale,
                                               .dtype = c.dtype,
                                               .queries = all,
                                               .mask = masks[0]},
                                              all, static_cast<uint32_t>(length * 31 + c.ranks));
    dout = reference::RandomNormal(inputs.query_elements(), 77);
    reference::RoundTo(c.dtype, &dout);
  }

  const kernels::Mask& MaskOf(int64_t b) const {
    return masks[masks.size() == 1 ? 0 : static_cast<size_t>(b)];
  }

  int64_t length;
  AttentionShape shape;
  std::vector<kernels::Mask> masks;
  reference::AttentionInputs inputs;
  std::vector<float> dout;
};

template <class T>
std::vector<T> SequenceOf(const std::vector<T>& all, int64_t b) {
  const auto size = std::ssize(all) / kBatch;
  return {all.begin() + b * size, all.begin() + (b + 1) * size};
}

template <class T>
void Append(const std::vector<T>& part, std::vector<T>& all) {
  all.insert(all.end(), part.begin(), part.end());
}

template <class Real>
struct Reference {
  reference::AttentionOutput<Real> output;
  reference::AttentionGradients<Real> gradients;
};

// Sequence by sequence, each with its own mask.
template <class Real>
Reference<Real> ReferenceOf(const Whole& whole) {
  Reference<Real> all;
  for (int64_t b = 0; b < kBatch; ++b) {
    reference::AttentionInputs one{whole.inputs.problem, whole.inputs.keys,
                                   SequenceOf(whole.inputs.q, b), SequenceOf(whole.inputs.k, b),
                                   SequenceOf(whole.inputs.v, b)};
    one.problem.batch = 1;
    one.problem.mask = whole.MaskOf(b);
    const auto output = reference::AttentionForward<Real>(one);
    const auto gradients = reference::AttentionBackward<Real>(one, SequenceOf(whole.dout, b));
    Append(output.out, all.output.out);
    Append(output.lse, all.output.lse);
    Append(gradients.dq, all.gradients.dq);
    Append(gradients.dk, all.gradients.dk);
    Append(gradients.dv, all.gradients.dv);
  }
  return all;
}

int64_t PairsOf(const Whole& whole) {
  int64_t pairs = 0;
  for (int64_t b = 0; b < kBatch; ++b) {
    for (int64_t q = 0; q < whole.length; ++q) {
      for (int64_t k = 0; k < whole.length; ++k) pairs += whole.MaskOf(b).Allows(q, k);
    }
  }
  return pairs;
}

struct Results {
  explicit Results(const Whole& w)
      : out(w.dout.size(), NAN),
        lse(static_cast<size_t>(kBatch * kHeads * w.length), NAN),
        dq(w.dout.size(), NAN),
        dk(w.inputs.k.size(), NAN),
        dv(w.inputs.k.size(), NAN) {}
  std::vector<float> out, lse, dq, dk, dv;
  int64_t flops = 0;  // of all ranks
};

// Copies the rows of `positions` between a whole tensor [B,n,width] and a local one [B,T,width].
struct Shard {
  const kernels::Positions& positions;
  int64_t length;
  int64_t width;

  void Take(const std::vector<float>& whole, float* local) const {
    ForEachRow([&](int64_t from, int64_t to, bool padding) {
      for (int64_t i = 0; i < width; ++i) {
        local[to + i] = padding ? kPadding : whole[static_cast<size_t>(from + i)];
      }
    });
  }
  void Put(const float* local, std::vector<float>& whole) const {
    ForEachRow([&](int64_t at, int64_t from, bool padding) {
      for (int64_t i = 0; i < width && !padding; ++i) {
        whole[static_cast<size_t>(at + i)] = local[from + i];
      }
    });
  }

 private:
  template <class Body>
  void ForEachRow(Body body) const {
    const int64_t tokens = positions.tokens();
    for (int64_t b = 0; b < kBatch; ++b) {
      for (int64_t t = 0; t < tokens; ++t) {
        const int64_t position = positions.at(t);
        body((b * length + position) * width, (b * tokens + t) * width, position >= length);
      }
    }
  }
};

// The elements of a tensor of f32 or bf16, and back.
std::vector<float> Read(const View& view) {
  std::vector<float> values;
  for (int64_t i = 0; i < view.size(); ++i) {
    values.push_back(view.dtype == DType::kF32 ? view.As<float>()[i]
                                               : ToFloat(view.As<kernels::BFloat16>()[i]));
  }
  return values;
}
void Write(const std::vector<float>& values, const View& view) {
  for (int64_t i = 0; i < view.size(); ++i) {
    const float value = values[static_cast<size_t>(i)];
    if (view.dtype == DType::kF32) {
      view.As<float>()[i] = value;
    } else {
      view.As<kernels::BFloat16>()[i] = kernels::ToBFloat16(value);
    }
  }
}

void RunRank(const Whole& whole, const Case& c, Communicator& context, Results& results,
             std::mutex& mutex) {
  runtime::Arena arena(int64_t{64} << 20);
  kernels::CpuTable table(1 + context.rank() % kMostThreads);
  kernels::Kernels kernels(table, arena);
  const Partition partition(c.partition, c.length, context.size());
  const int64_t tokens = partition.local_tokens();
  const auto allocate = [&](DType dtype, std::initializer_list<int64_t> dims) {
    const View view = arena.Allocate(dtype, dims, MemoryCategory::kActivations, "test");
    Write(std::vector<float>(static_cast<size_t>(view.size()), NAN), view);
    return view;
  };
  const auto heads = [&] { return allocate(c.dtype, {kBatch, tokens, kHeads, kHeadDim}); };
  const auto keys = [&](DType dtype) {
    return allocate(dtype, {2, kBatch, tokens, c.kv_heads * kHeadDim});
  };
  const View q = heads(), out = heads(), dout = heads(), dq = heads();
  const View kv = keys(c.dtype), dkv = keys(DType::kF32);
  const View lse = allocate(DType::kF32, {kBatch, kHeads, tokens});
  const kernels::Positions positions = partition.PositionsOf(context.rank());
  const Shard query_shard{positions, c.length, kHeads * kHeadDim};
  const Shard key_shard{positions, c.length, c.kv_heads * kHeadDim};
  std::vector<float> queries(static_cast<size_t>(q.size())),
      keys_values(static_cast<size_t>(kv.size()));
  query_shard.Take(whole.inputs.q, queries.data());
  Write(queries, q);
  query_shard.Take(whole.dout, queries.data());
  Write(queries, dout);
  key_shard.Take(whole.inputs.k, keys_values.data());
  key_shard.Take(whole.inputs.v, keys_values.data() + kv.size() / 2);
  Write(keys_values, kv);

  RingAttention ring(kernels, arena, context, partition, whole.masks);
  const auto top = arena.Top();
  ring.Forward(whole.shape, q, kv, out, lse);
  ring.Backward(whole.shape, {.q = q, .kv = kv, .out = out, .dout = dout, .lse = lse}, dq, dkv);
  EXPECT_EQ(arena.Top(), top);

  const std::lock_guard lock(mutex);
  results.flops += kernels.counters()[kernels::KernelClass::kAttention].flops;
  query_shard.Put(Read(out).data(), results.out);
  query_shard.Put(Read(dq).data(), results.dq);
  key_shard.Put(dkv.As<float>(), results.dk);
  key_shard.Put(dkv.As<float>() + dkv.size() / 2, results.dv);
  for (int64_t row = 0; row < kBatch * kHeads; ++row) {
    for (int64_t t = 0; t < tokens; ++t) {
      if (positions.at(t) >= c.length) continue;
      results.lse[static_cast<size_t>(row * c.length + positions.at(t))] =
          lse.As<float>()[row * tokens + t];
    }
  }
}

double Norm(const std::vector<double>& values) {
  double sum = 0;
  for (double v : values) sum += v * v;
  return std::sqrt(sum);
}

template <class Real>
double RelativeError(const std::vector<Real>& actual, const std::vector<double>& truth) {
  std::vector<double> difference(truth.size());
  for (size_t i = 0; i < truth.size(); ++i) {
    difference[i] = static_cast<double>(actual[i]) - truth[i];
  }
  // Inputs are of unit size: a gradient that cancels to nothing is measured against that.
  return Norm(difference) / std::max(Norm(truth), std::sqrt(static_cast<double>(truth.size())));
}

// Twice the error of a plain implementation of the same precision, and a floor of a few roundings.
template <class Real>
void ExpectClose(const std::vector<float>& actual, const std::vector<Real>& plain,
                 const std::vector<double>& truth, const char* what) {
  ASSERT_EQ(actual.size(), truth.size());
  EXPECT_LE(RelativeError(actual, truth),
            2 * RelativeError(plain, truth) + 4 * std::numeric_limits<float>::epsilon())
      << what;
}

class RingAttentionTest : public testing::TestWithParam<Case> {};

TEST_P(RingAttentionTest, MatchesAttentionOverTheWholeSequence) {
  const Whole whole(GetParam());
  Results results(whole);
  std::mutex mutex;
  RunRanks(GetParam().ranks,
           [&](Communicator& context) { RunRank(whole, GetParam(), context, results, mutex); });
  const auto truth = ReferenceOf<double>(whole);
  const auto plain = ReferenceOf<float>(whole);
  ExpectClose(results.out, plain.output.out, truth.output.out, "out");
  ExpectClose(results.lse, plain.output.lse, truth.output.lse, "lse");
  ExpectClose(results.dq, plain.gradients.dq, truth.gradients.dq, "dq");
  ExpectClose(results.dk, plain.gradients.dk, truth.gradients.dk, "dk");
  ExpectClose(results.dv, plain.gradients.dv, truth.gradients.dv, "dv");
  EXPECT_EQ(results.flops, (4 + 10) * kHeadDim * kHeads * PairsOf(whole));
}

std::vector<Case> Cases() {
  std::vector<Case> cases;
  for (int ranks : {1, 2, 3, 4, 7, 8}) {
    for (PartitionKind partition :
         {PartitionKind::kContiguous, PartitionKind::kZigzag, PartitionKind::kStriped}) {
      for (kernels::MaskKind mask :
           {kernels::MaskKind::kCausal, kernels::MaskKind::kFull, kernels::MaskKind::kWindow,
            kernels::MaskKind::kDocuments, kernels::MaskKind::kBlockSparse}) {
        cases.push_back({ranks, partition, mask, 2, 173});
      }
      cases.push_back({ranks, partition, kernels::MaskKind::kCausal, 1, 67});
      cases.push_back({ranks, partition, kernels::MaskKind::kCausal, 4, 67});
      // Ranks without a single token, and a last rank with almost none.
      cases.push_back({ranks, partition, kernels::MaskKind::kCausal, 4, 5});
      cases.push_back({ranks, partition, kernels::MaskKind::kFull, 4, 1});
      if (ranks <= 4) {
        cases.push_back({ranks, partition, kernels::MaskKind::kCausal, 2, 101, DType::kBF16});
      }
    }
  }
  return cases;
}

INSTANTIATE_TEST_SUITE_P(All, RingAttentionTest, testing::ValuesIn(Cases()),
                         testing::PrintToStringParamName());

// Keys travel in their own dtype, their gradients in f32.
TEST(RingTraffic, OfBf16KeysIsHalf) {
  constexpr int64_t kLength = 64, kRanks = 4, kTokens = kLength / kRanks;
  const Case f32{kRanks, PartitionKind::kZigzag, kernels::MaskKind::kCausal, 2, kLength};
  Case bf16 = f32;
  bf16.dtype = DType::kBF16;
  for (const Case& c : {f32, bf16}) {
    const Whole whole(c);
    Results results(whole);
    std::mutex mutex;
    RunRanks(kRanks, [&](Communicator& context) {
      RunRank(whole, c, context, results, mutex);
      constexpr int64_t kBlock = 2 * kBatch * kTokens * 2 * kHeadDim;  // keys and values of 2 heads
      EXPECT_EQ(context.counters().bytes_sent,
                2 * (kRanks - 1) * kBlock * SizeOf(c.dtype) + kRanks * kBlock * 4);
    });
  }
}

}  // namespace
}  // namespace annulus::parallel
