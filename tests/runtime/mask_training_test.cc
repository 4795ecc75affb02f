// Training under every mask: against a float64 model, over every number of ranks and partition, and
// packed documents against the documents alone.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>

#include "runtime/config/attention_mask.h"
#include "tests/reference/decoder_reference.h"
#include "tests/runtime/packed_documents.h"
#include "tests/runtime/tiny_run.h"

namespace annulus::runtime {
namespace {

using kernels::MaskKind;
using parallel::PartitionKind;

constexpr int64_t kLength = 101;  // divided by nothing
constexpr int64_t kMicroBatch = 2;
constexpr int64_t kBatch = 4;

AttentionOptions OptionsOf(MaskKind kind) {
  AttentionOptions options{.mask = kind};
  if (kind == MaskKind::kWindow) options.window = 23;
  if (kind == MaskKind::kBlockSparse) {
    options.pattern = BlockPatternName::kBigBird;
    options.block_tokens = 7;
    options.random_blocks = 1;
  }
  ResolveAttention(options);
  return options;
}

TinyRun RunUnder(MaskKind kind) {
  TinyRun run = MakeTinyRun(kLength, kBatch);
  run.config.train.micro_batch_size = kMicroBatch;
  run.config.attention = OptionsOf(kind);
  run.data = std::make_shared<PackedDocuments>(
      std::vector<PackedDocument>{{0, 20}, {1, 1}, {2, 33}, {3, 2}, {4, 45}}, run.shape.vocab_size);
  return run;
}

// The mask of sequence `index`; documents start where `starts` says, which it fills.
kernels::Mask MaskOfSequence(const TinyRun& run, int64_t index, std::vector<int64_t>& starts) {
  kernels::Mask mask = MaskOf(run.config.attention, kLength);
  starts.resize(static_cast<size_t>(run.data->MostDocuments(kLength)));
  run.data->TrainDocuments(index, kLength, starts.data());
  mask.document_starts = starts;
  return mask;
}

int64_t PairsOfBatch(const TinyRun& run) {
  int64_t pairs = 0;
  std::vector<int64_t> starts;
  for (int64_t s = 0; s < kBatch; ++s) {
    const kernels::Mask mask = MaskOfSequence(run, s, starts);
    for (int64_t q = 0; q < kLength; ++q) {
      for (int64_t k = 0; k < kLength; ++k) pairs += mask.Allows(q, k);
    }
  }
  return pairs;
}

class MaskTraining : public testing::TestWithParam<MaskKind> {};

TEST_P(MaskTraining, LossIsThatOfAFloat64Model) {
  const TinyRun run = RunUnder(GetParam());
  const ParameterLayout layout(run.shape);
  reference::Parameters parameters;
  for (const ParameterSpec& spec : layout.specs()) {
    std::vector<float> values(static_cast<size_t>(spec.size));
    FillInitialValues(spec, run.config.train.seed, 0, values);
    parameters[spec.name].assign(values.begin(), values.end());
  }
  double expected = 0;
  int64_t targets = 0;
  std::vector<int64_t> starts;
  for (int64_t s = 0; s < kBatch; ++s) {
    reference::ReferenceSequence sequence;
    sequence.tokens.resize(kLength);
    sequence.labels.resize(kLength);
    run.data->TrainSequence(s, kLength, kernels::Positions({0, 1, kLength}), sequence.tokens.data(),
                            sequence.labels.data());
    const kernels::Mask mask = MaskOfSequence(run, s, starts);
    expected += reference::DecoderLossSum(run.shape, parameters, mask, sequence);
    targets += std::count_if(sequence.labels.begin(), sequence.labels.end(),
                             [](int32_t label) { return label >= 0; });
  }
  TinyRun sharded = run;
  sharded.ranks = 3;
  for (const TinyRun& any : {run, sharded}) {
    const StepResult step = GradientsOf(any).step;
    EXPECT_EQ(step.targets, targets);
    EXPECT_NEAR(step.loss * static_cast<double>(targets), expected, 1e-5 * expected);
  }
}

TEST_P(MaskTraining, RanksAndPartitionsAgreeOnTheCurve) {
  constexpr int64_t kSteps = 12;
  TinyRun run = RunUnder(GetParam());
  run.config.optimizer.learning_rate = 3e-3;
  const std::vector<double> one = LossesOf(run, kSteps);
  EXPECT_LT(one.back(), one.front());
  for (const PartitionKind partition :
       {PartitionKind::kContiguous, PartitionKind::kZigzag, PartitionKind::kStriped}) {
    for (const int ranks : {2, 4}) {
      SCOPED_TRACE(fmt::format("{} ranks, {}", ranks, NameOf(partition)));
      run.config.parallel.partition = partition;
      run.ranks = ranks;
      const std::vector<double> many = LossesOf(run, kSteps);
      for (size_t s = 0; s < one.size(); ++s) EXPECT_NEAR(many[s], one[s], 1e-4) << s;
    }
  }
}

// FLOPs are those of the pairs allowed, bytes those planned; documents, which the plan does not
// know, are planned as one a sequence.
TEST_P(MaskTraining, CountsExactPairsInThePlannedMemory) {
  TinyRun run = RunUnder(GetParam());
  const int64_t per_pair =
      (4 + 10) * run.shape.head_dim * run.shape.num_attention_heads * run.shape.num_hidden_layers;
  const int64_t expected = per_pair * PairsOfBatch(run);
  const int64_t causal = per_pair * kBatch * kLength * (kLength + 1) / 2;
  for (const int ranks : {1, 2, 4}) {
    run.ranks = ranks;
    int64_t counted = 0, planned = 0;
    std::mutex mutex;
    OnEveryRank(run,
                [&](Program& program, const BatchLoader& load, Arena& arena, const RankPlan& plan) {
                  program.Step(0, kLength, 0, load);
                  constexpr auto kAttention = kernels::KernelClass::kAttention;
                  const std::lock_guard lock(mutex);
                  counted += program.kernels().counters()[kAttention].flops;
                  planned += plan.steps.at(0).work[kAttention].flops;
                  EXPECT_EQ(arena.ledger().peak_bytes(), plan.ledger.peak_bytes());
                  EXPECT_EQ(arena.ledger().peak_by_category(), plan.ledger.peak_by_category());
                });
    EXPECT_EQ(counted, expected) << ranks;
    EXPECT_EQ(planned, GetParam() == MaskKind::kDocuments ? causal : expected) << ranks;
  }
}

INSTANTIATE_TEST_SUITE_P(All, MaskTraining,
                         testing::Values(MaskKind::kFull, MaskKind::kCausal, MaskKind::kWindow,
                                         MaskKind::kDocuments, MaskKind::kBlockSparse),
                         [](const auto& kind) {
                           std::string name(NameOf(kind.param));
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

// The gradients of the loss sums.
GradientResult Alone(const PackedDocument& document) {
  TinyRun run = MakeTinyRun(document.size, 1);
  run.data = std::make_shared<PackedDocuments>(std::vector<PackedDocument>{document},
                                               run.shape.vocab_size);
  return GradientsOf(run);
}

double LossSum(const GradientResult& result) {
  return result.step.loss * static_cast<double>(result.step.targets);
}

// Attention by rotary embedding sees relative positions only: a document in the middle of a
// sequence is computed as if it began it.
TEST(PackedDocumentsTest, HaveTheLossesAndGradientsOfTheDocumentsAlone) {
  const std::vector<PackedDocument> documents = {{7, 38}, {8, 63}};
  const GradientResult first = Alone(documents[0]), second = Alone(documents[1]);
  TinyRun packed = MakeTinyRun(101, 1);
  packed.config.attention = OptionsOf(MaskKind::kDocuments);
  const ParameterLayout layout(packed.shape);
  packed.data = std::make_shared<PackedDocuments>(documents, packed.shape.vocab_size);
  for (const PartitionKind partition :
       {PartitionKind::kContiguous, PartitionKind::kZigzag, PartitionKind::kStriped}) {
    for (const int ranks : {1, 2, 4}) {
      SCOPED_TRACE(fmt::format("{} ranks, {}", ranks, NameOf(partition)));
      packed.config.parallel.partition = partition;
      packed.ranks = ranks;
      const GradientResult both = GradientsOf(packed);
      EXPECT_EQ(both.step.targets, 37 + 62);
      const double expected = LossSum(first) + LossSum(second);
      EXPECT_NEAR(LossSum(both), expected, 1e-5 * expected);
      for (const ParameterSpec& spec : layout.specs()) {
        double difference = 0, norm = 0;
        for (int64_t i = spec.offset; i < spec.offset + spec.size; ++i) {
          const auto at = static_cast<size_t>(i);
          const double sum =
              static_cast<double>(first.gradients[at]) + static_cast<double>(second.gradients[at]);
          difference += std::pow(static_cast<double>(both.gradients[at]) - sum, 2);
          norm += sum * sum;
        }
        EXPECT_LE(std::sqrt(difference / norm), 1e-5) << spec.name;
      }
    }
  }
}

}  // namespace
}  // namespace annulus::runtime
