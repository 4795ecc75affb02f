// `annulus plan`: what it says of long contexts, and what it costs to ask.
#include <gmock/gmock.h>

#include <algorithm>

#include "tests/cli/annulus_command.h"

namespace annulus::runtime {
namespace {

using nlohmann::json;

class Plan : public testing::Test {
 protected:
  // The plan's report.
  json Of(const Arguments& options) {
    const std::string file = dir_.At("plan.json");
    outcome_ = RunAnnulus(Arguments{"plan", "--json", file} + options);
    EXPECT_EQ(outcome_.status, 0) << outcome_.err;
    return ReadJson(file);
  }

  TempDir dir_;
  Outcome outcome_;
};

double Category(const json& rank, const char* name) {
  return rank.at("predicted_categories").at(name).get<double>();
}

constexpr const char* kSmallModel =
    "--model.vocab_size 256 --model.hidden_size 64 --model.num_attention_heads 4 "
    "--model.intermediate_size 176 --device.threads 1 ";

TEST_F(Plan, ActivationsGrowLinearlyWithTheContext) {
  for (const char* recompute : {"none", "mlp", "block"}) {
    double half = 0, half_of_all = 0;
    for (const int length : {32768, 65536, 131072}) {
      const json rank = Of(Words(kSmallModel + std::string("--memory.recompute ") + recompute +
                                 " --train.sequence_length " + std::to_string(length)))
                            .at("ranks")
                            .at(0);
      const double activations = Category(rank, "activations");
      const double all = rank.at("predicted_peak_activation_bytes");
      if (half > 0) {
        EXPECT_NEAR(activations / half, 2.0, 0.01) << recompute << ", " << length;
        EXPECT_NEAR(all / half_of_all, 2.0, 0.01) << recompute << ", " << length;
      }
      half = activations;
      half_of_all = all;
    }
  }
}

// Activations and attention state are shared out. So is the ring, which does not exist on one rank:
// up to two blocks of keys and values on their way and two of their gradients.
TEST_F(Plan, RanksHoldTheirShareOfTheContext) {
  constexpr int64_t kLength = 32768, kHidden = 64;
  const auto rank_of = [this](int ranks) {
    const json all = Of(Words(kSmallModel +
                              std::string("--train.sequence_length 32768 "
                                          "--parallel.shared_memory off --ranks ") +
                              std::to_string(ranks)))
                         .at("ranks");
    EXPECT_EQ(all.size(), static_cast<size_t>(ranks));
    for (const json& rank : all) {
      EXPECT_EQ(rank.at("predicted_categories"), all[0].at("predicted_categories"));
    }
    return all[0];
  };
  const json alone = rank_of(1);
  EXPECT_EQ(Category(alone, "ring"), 0);
  std::vector<double> whole;  // steps' bytes of all ranks together, from 4 ranks on
  for (const int ranks : {2, 4, 8}) {
    const json rank = rank_of(ranks);
    for (const char* category : {"batch", "activations", "attention"}) {
      const double share = Category(alone, category) / ranks;
      EXPECT_NEAR(Category(rank, category), share, 0.02 * share) << category << " of " << ranks;
    }
    const int64_t block = 2 * (kLength / ranks) * kHidden * 4;
    const int64_t keys_in_flight = ranks == 2 ? 1 : 2, gradients_in_flight = std::min(ranks, 3);
    EXPECT_EQ(rank.at("predicted_categories").at("ring"),
              (keys_in_flight + gradients_in_flight) * block);
    if (ranks > 2) {
      whole.push_back(rank.at("predicted_peak_activation_bytes").get<double>() * ranks);
    }
  }
  EXPECT_NEAR(whole[1], whole[0], 0.02 * whole[0]);
}

// What documents leave of the pairs is not known before they are: the plan says that it is a bound.
TEST_F(Plan, SaysWhatTheMaskLeavesAndWhenItIsABound) {
  const auto phase_of = [this](const std::string& mask) {
    const json plan =
        Of(Words(std::string(kSmallModel) + "--train.sequence_length 4096 --ranks 2 " +
                 "--attention.mask " + mask));
    EXPECT_EQ(plan.at("flops_are_most"), mask == "documents") << mask;
    EXPECT_EQ(outcome_.out.find("the most there can be") != std::string::npos, mask == "documents");
    return plan.at("phases").at(0);
  };
  const auto area_of = [&](const char* mask) {
    return phase_of(mask).at("mask_area").get<double>();
  };
  constexpr double kLength = 4096;
  EXPECT_DOUBLE_EQ(area_of("full"), 1);
  EXPECT_DOUBLE_EQ(area_of("causal"), (kLength + 1) / (2 * kLength));
  EXPECT_DOUBLE_EQ(area_of("window --attention.window 512"),
                   (512 - 512 * 511 / (2 * kLength)) / kLength);
  // Of 64 rows of blocks, the first 8 have 1 to 8 and the others 8 and the first one; half of the
  // diagonal block is in the future.
  EXPECT_DOUBLE_EQ(area_of("block-sparse --attention.pattern longformer"),
                   ((36 + 56 * 9) * 64.0 * 64 - 64 * 64 * 63 / 2) / (kLength * kLength));
  for (const char* key : {"mask_area", "flops", "traffic_bytes"}) {
    EXPECT_EQ(phase_of("documents").at(key), phase_of("causal").at(key)) << key;
  }
}

// Parameters, activations and the keys in flight halve; the optimizer gains the master weights, and
// gradients, among them those of the keys, stay f32.
TEST_F(Plan, Bf16HalvesWhatIsNotKeptInF32) {
  const auto rank_of = [this](const char* dtype) {
    return Of(Words(kSmallModel +
                    std::string("--train.sequence_length 32768 --ranks 4 "
                                "--parallel.shared_memory off --model.dtype ") +
                    dtype))
        .at("ranks")
        .at(0);
  };
  const json f32 = rank_of("f32"), bf16 = rank_of("bf16");
  EXPECT_EQ(Category(bf16, "parameters"), Category(f32, "parameters") / 2);
  EXPECT_EQ(Category(bf16, "gradients"), Category(f32, "gradients"));
  EXPECT_EQ(Category(bf16, "optimizer"), Category(f32, "optimizer") * 3 / 2);
  // Two blocks of keys, three of gradients.
  EXPECT_EQ(Category(bf16, "ring"), Category(f32, "ring") * 4 / 5);
  // But for the f32 gradients of a layer's own keys and values.
  constexpr double kKeyGradients = 2 * (32768 / 4) * 64 * 4;
  EXPECT_NEAR(Category(bf16, "activations"), Category(f32, "activations") / 2 + kKeyGradients,
              0.02 * Category(f32, "activations"));
}

}  // namespace
}  // namespace annulus::runtime
