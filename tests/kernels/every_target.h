// Runs a suite once for every instruction set that Highway compiled and this CPU has.
#pragma once

#include <gtest/gtest.h>
#include <hwy/highway.h>

#include <cstdint>
#include <string>

namespace annulus::kernels::testing {

// class Add : public EveryTarget {};  TEST_P(Add, ...) ...;  ANNULUS_ON_EVERY_TARGET(Add);
class EveryTarget : public ::testing::TestWithParam<int64_t> {
 protected:
  void SetUp() override { hwy::GetChosenTarget().Update(GetParam()); }
  void TearDown() override { hwy::GetChosenTarget().Update(hwy::SupportedTargets()); }
};

#define ANNULUS_ON_EVERY_TARGET(suite)                                   \
  INSTANTIATE_TEST_SUITE_P(                                              \
      , suite, ::testing::ValuesIn(hwy::SupportedAndGeneratedTargets()), \
      [](const auto& target) { return std::string(hwy::TargetName(target.param)); })

}  // namespace annulus::kernels::testing
