// Attention shared by ranks against attention over the whole sequence in float64: every schedule,
// number of ranks, Ulysses size, partition, mask and head sharing, at lengths that divide nothing.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "parallel/context_attention.h"
#include "tests/parallel/ring_case.h"

namespace annulus::parallel {
namespace {

using kernels::DType;
using kernels::MaskKind;

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

class RingAttentionTest : public testing::TestWithParam<RingCase> {};

TEST_P(RingAttentionTest, MatchesAttentionOverTheWholeSequence) {
  const Whole whole(GetParam());
  const auto truth = ReferenceOf<double>(whole);
  const auto plain = ReferenceOf<float>(whole);
  const int64_t flops = (4 + 10) * kHeadDim * whole.shape.heads * PairsOf(whole);
  for (const ScheduleSpec& schedule : SchedulesFor(GetParam().ring())) {
    SCOPED_TRACE(Describe(schedule));
    const RingResults results = RunRing(whole, GetParam(), schedule);
    ExpectClose(results.out, plain.output.out, truth.output.out, "out");
    ExpectClose(results.lse, plain.output.lse, truth.output.lse, "lse");
    ExpectClose(results.dq, plain.gradients.dq, truth.gradients.dq, "dq");
    ExpectClose(results.dk, plain.gradients.dk, truth.gradients.dk, "dk");
    ExpectClose(results.dv, plain.gradients.dv, truth.gradients.dv, "dv");
    const auto add = [](int64_t sum, const RankCost& cost) { return sum + cost.flops; };
    EXPECT_EQ(std::accumulate(results.cost.begin(), results.cost.end(), int64_t{0}, add), flops);
  }
}

std::vector<RingCase> Cases() {
  std::vector<RingCase> cases;
  for (int ranks : {1, 2, 3, 4, 7, 8}) {
    for (PartitionKind partition :
         {PartitionKind::kContiguous, PartitionKind::kZigzag, PartitionKind::kStriped}) {
      for (MaskKind mask : {MaskKind::kCausal, MaskKind::kFull, MaskKind::kWindow,
                            MaskKind::kDocuments, MaskKind::kBlockSparse}) {
        cases.push_back({ranks, partition, mask, 2, 173});
        cases.push_back({ranks, partition, mask, 4, 67});
      }
      cases.push_back({ranks, partition, MaskKind::kCausal, 1, 67});
      // Ranks without a single token, and a last rank with almost none.
      cases.push_back({ranks, partition, MaskKind::kCausal, 4, 5});
      cases.push_back({ranks, partition, MaskKind::kFull, 4, 1});
      if (ranks <= 4) {
        cases.push_back({ranks, partition, MaskKind::kCausal, 2, 101, DType::kBF16});
      }
    }
  }
  return cases;
}

// Heads that divide evenly over the ranks and that do not, key/value heads for every query head,
// for some, fewer than ranks, one.
constexpr std::pair<int64_t, int64_t> kHeadCounts[] = {{8, 8}, {8, 2}, {8, 1}, {9, 3}, {10, 5}};

std::vector<RingCase> UlyssesCases() {
  std::vector<RingCase> cases;
  size_t next = 0;
  for (int ranks : {2, 3, 4, 6, 7, 8}) {
    for (int ulysses = 2; ulysses <= ranks; ++ulysses) {
      if (ranks % ulysses != 0) continue;
      for (PartitionKind partition :
           {PartitionKind::kContiguous, PartitionKind::kZigzag, PartitionKind::kStriped}) {
        ++next;  // so that masks meet other heads in the next partition
        for (MaskKind mask : {MaskKind::kCausal, MaskKind::kFull, MaskKind::kWindow,
                              MaskKind::kDocuments, MaskKind::kBlockSparse}) {
          const auto [heads, kv_heads] = kHeadCounts[next++ % std::size(kHeadCounts)];
          cases.push_back({ranks, partition, mask, kv_heads, 101, DType::kF32, ulysses, heads});
        }
        const auto [heads, kv_heads] = kHeadCounts[next % std::size(kHeadCounts)];
        // Ranks and whole groups without a single token.
        cases.push_back(
            {ranks, partition, MaskKind::kCausal, kv_heads, 3, DType::kF32, ulysses, heads});
        cases.push_back(
            {ranks, partition, MaskKind::kCausal, kv_heads, 61, DType::kBF16, ulysses, heads});
      }
      for (const auto& [heads, kv_heads] : kHeadCounts) {
        cases.push_back({ranks, PartitionKind::kZigzag, MaskKind::kCausal, kv_heads, 47,
                         DType::kF32, ulysses, heads});
      }
    }
  }
  return cases;
}

INSTANTIATE_TEST_SUITE_P(Ulysses, RingAttentionTest,
                         testing::ValuesIn(ForThisBuild(WithNodes(UlyssesCases()))),
                         testing::PrintToStringParamName());
INSTANTIATE_TEST_SUITE_P(All, RingAttentionTest,
                         testing::ValuesIn(ForThisBuild(WithNodes(Cases()))),
                         testing::PrintToStringParamName());

}  // namespace
}  // namespace annulus::parallel
