// The layer between kernels and the CUDA runtime, on the emulator.
#include <gmock/gmock.h>

#include <cstring>
#include <vector>

#include "kernels/base/error.h"
#include "kernels/cuda/cuda_table.h"
#include "kernels/cuda/device_memory.h"
#include "kernels/cuda/host_copies.h"
#include "kernels/cuda/lt_products.h"
#include "tests/cuda/emulator/options.h"

namespace annulus::kernels::cuda {
namespace {

using testing::AllOf;
using testing::HasSubstr;

template <class Error, class Body>
std::string MessageOf(const Body& body) {
  try {
    body();
  } catch (const Error& error) {
    return error.what();
  }
  ADD_FAILURE() << "nothing was thrown";
  return "";
}

TEST(CheckCuda, NamesCallPlaceDeviceAndReason) {
  UseDevice(1);
  const std::string message =
      MessageOf<SystemError>([] { CheckCuda(cudaErrorInvalidValue, "cudaFrobnicate"); });
  UseDevice(0);
  EXPECT_THAT(message, AllOf(HasSubstr("cudaFrobnicate failed on device 1, "),
                             HasSubstr("at device_test.cc:"), HasSubstr("cudaErrorInvalidValue")));
}

TEST(DeviceOfRank, TakesDevicesInTurn) {
  EXPECT_EQ(DeviceOfRank(0, 3), 0);
  EXPECT_EQ(DeviceOfRank(2, 3), 2);
  EXPECT_EQ(DeviceOfRank(4, 3), 1);
}

TEST(DeviceMemory, SaysWhatIsLeft) {
  const std::string message =
      MessageOf<SystemError>([] { ReserveDeviceMemory(int64_t{1} << 40, "a test"); });
  EXPECT_THAT(message, AllOf(HasSubstr("cudaMalloc of 1099511627776 bytes for a test"),
                             HasSubstr("bytes free")));
}

std::vector<unsigned char> Numbers(int64_t bytes) {
  std::vector<unsigned char> numbers(static_cast<size_t>(bytes));
  for (size_t i = 0; i < numbers.size(); ++i)
    numbers[i] = static_cast<unsigned char>(i * 7 + i / 251);
  return numbers;
}

class HostCopiesOf : public testing::TestWithParam<int64_t> {};

// The source may change as soon as the copy returns, in whatever order streams run.
TEST_P(HostCopiesOf, ArriveWhole) {
  const int64_t bytes = GetParam();
  const std::vector<unsigned char> expected = Numbers(bytes);
  emulator::ForEachSchedule(3, [&](const std::string& schedule) {
    SCOPED_TRACE(schedule);
    const Stream stream;
    HostCopies copies;
    const DeviceMemory device = ReserveDeviceMemory(bytes, "a test");
    std::vector<unsigned char> source = expected, back(expected.size(), 0);
    copies.ToDevice(source.data(), device.get(), bytes, stream.get());
    std::fill(source.begin(), source.end(), static_cast<unsigned char>(0));
    copies.ToHost(device.get(), back.data(), bytes, stream.get());
    EXPECT_EQ(back, expected);
    // Pinned memory, from somewhere inside of it.
    const OwnedMemory pinned = copies.Allocate(bytes + 100);
    std::memcpy(pinned.get() + 100, expected.data(), expected.size());
    copies.ToDevice(pinned.get() + 100, device.get(), bytes, stream.get());
    std::memset(pinned.get(), 0, expected.size() + 100);
    copies.ToHost(device.get(), pinned.get() + 100, bytes, stream.get());
    EXPECT_EQ(std::memcmp(pinned.get() + 100, expected.data(), expected.size()), 0);
  });
}

constexpr int64_t kChunk = HostCopies::kChunkBytes;
INSTANTIATE_TEST_SUITE_P(Bytes, HostCopiesOf,
                         testing::Values(1, 100, kChunk, kChunk + 1, 2 * kChunk, 3 * kChunk + 77));

// The product of two numbers, one of which TF32 cannot hold.
float ProductBy(F32Products arithmetic) {
  const Stream stream;
  HostCopies copies;
  LtProducts products(arithmetic);
  const DeviceMemory memory = ReserveDeviceMemory(1024, "a test");
  const float factors[] = {1 + 0x1p-12f, 2};
  copies.ToDevice(factors, memory.get(), sizeof factors, stream.get());
  const View a(memory.get(), DType::kF32, {1, 1}), b(memory.get() + 4, DType::kF32, {1, 1});
  const View c(memory.get() + 8, DType::kF32, {1, 1});
  const int64_t bytes = LtProducts::ScratchBytes({a, b, c});
  const DeviceMemory scratch = ReserveDeviceMemory(bytes, "a test");
  products.MatMul({a, b, c}, View(scratch.get(), DType::kByte, {bytes}), stream.get());
  float product = 0;
  copies.ToHost(c.data, &product, sizeof product, stream.get());
  return product;
}

TEST(LtProducts, RoundsToTf32OnlyWhereItIsAskedFor) {
  EXPECT_EQ(ProductBy(F32Products::kF32), 2 + 0x1p-11f);
  EXPECT_EQ(ProductBy(F32Products::kTf32), 2);
}

TEST(CudaTable, ModelAnswersWithoutADevice) {
  emulator::Options& options = emulator::TheOptions();
  const emulator::Options before = options;
  options.devices = 0;
  const std::unique_ptr<KernelTable> model = ModelCudaTable();
  const View x(nullptr, DType::kBF16, {1000, 64});
  RmsNormBackwardArgs norm;
  norm.x = x;
  EXPECT_EQ(model->RmsNormBackwardScratchBytes(norm), 32 * 64 * 4);
  EXPECT_FALSE(model->Choices().empty());
  EXPECT_THROW(model->Zero(View(nullptr, DType::kF32, {1})), InternalError);
  EXPECT_THROW(CreateCudaTable({}), ConfigError);
  EXPECT_THAT(CudaProblem(), HasSubstr("device.kind = cpu"));
  options = before;
}

}  // namespace
}  // namespace annulus::kernels::cuda
