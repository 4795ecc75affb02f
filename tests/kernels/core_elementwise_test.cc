// What elementwise kernels of cores do beyond the contracts of the kernel table.
#include "kernels/cpu/elementwise.h"
#include "tests/kernels/every_device.h"
#include "tests/kernels/test_tensor.h"

namespace annulus::kernels::testing {
namespace {

// A long context must not make the partial sums of dweight grow with it.
TEST(RmsNormBackwardScratch, IsBounded) {
  const auto scratch_bytes = [](int64_t rows) {
    RmsNormBackwardArgs args;
    args.x = ConstView(nullptr, DType::kF32, {rows, 4096});
    return cpu::RmsNormBackwardScratchBytes(args);
  };
  EXPECT_EQ(scratch_bytes(0), 0);
  EXPECT_EQ(scratch_bytes(1), 4096 * 4);
  EXPECT_EQ(scratch_bytes(1 << 20), 64 * 4096 * 4);
}

class ConvertOnCores : public EveryDevice {};

// Blocks of a wider matrix; what lies beside them is not touched.
TEST_P(ConvertOnCores, ReadsAndWritesRowsOfWiderMatrices) {
  auto wide = TensorOf<BFloat16>::Random({300, 100}, 1);
  const TestTensor before = TestTensor::Random({300, 90}, 2);
  const auto got = SameForAnyThreads([&](int threads) {
    TestTensor to = before;
    cpu::Convert(wide.view().Slice(1, 7, 65), to.view().Slice(1, 20, 65), threads);
    return Results{to.values()};
  });
  std::vector<float> expected = before.values();
  for (size_t r = 0; r < 300; ++r) {
    for (size_t i = 0; i < 65; ++i) {
      expected[r * 90 + 20 + i] = ToFloat(wide.values()[r * 100 + 7 + i]);
    }
  }
  ExpectSameBits(got[0], expected, "columns");
}

ANNULUS_ON_EVERY_DEVICE(ConvertOnCores);

}  // namespace
}  // namespace annulus::kernels::testing
