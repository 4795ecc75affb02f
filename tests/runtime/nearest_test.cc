#include "runtime/config/nearest.h"

#include <gtest/gtest.h>

#include <vector>

namespace annulus::runtime {
namespace {

TEST(NearestTest, IsWhatWasMeant) {
  const std::vector<std::string> names = {"train.steps", "train.seed", "model.hidden_size",
                                          "optimizer.learning_rate"};
  EXPECT_EQ(Nearest("train.stpes", names), "train.steps");
  EXPECT_EQ(Nearest("train.sead", names), "train.seed");
  EXPECT_EQ(Nearest("learning_rate", names), "optimizer.learning_rate");
  EXPECT_EQ(Nearest("model.steps", names), "train.steps");
  EXPECT_EQ(Nearest("model.hiden_sise", names), "model.hidden_size");
}

}  // namespace
}  // namespace annulus::runtime
