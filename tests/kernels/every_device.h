// Runs a suite once for every device that the test program has: instruction sets of the cores here
// (core_devices.cc), or CUDA on the emulator (tests/cuda/table/emulated_devices.cc). Tensors are in
// the host's memory whatever the device.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "kernels/base/kernel_table.h"

namespace annulus::kernels::testing {

class TestDevice {
 public:
  virtual ~TestDevice() = default;
  virtual std::string Name() const = 0;
  // Before and after a test of it.
  virtual void Enter() {}
  virtual void Leave() {}
  // On `threads` threads, or what else of a device may not change bits: 1, 2 or 3.
  virtual std::unique_ptr<KernelTable> MakeTable(int threads) = 0;
  // Whether its matrix products are not another device's.
  virtual bool has_own_products() const { return true; }
  // Whether tests may take large tensors.
  virtual bool is_fast() const { return true; }
};

// Those of this program, for its whole life.
const std::vector<TestDevice*>& TestDevices();

// class Add : public EveryDevice {};  TEST_P(Add, ...) ...;  ANNULUS_ON_EVERY_DEVICE(Add);
class EveryDevice : public ::testing::TestWithParam<TestDevice*> {
 public:
  // The table of the running test's device.
  static KernelTable& Table(int threads) {
    std::unique_ptr<KernelTable>& table = current_->tables_.at(static_cast<size_t>(threads));
    if (table == nullptr) table = current_->GetParam()->MakeTable(threads);
    return *table;
  }

 protected:
  void SetUp() override {
    current_ = this;
    GetParam()->Enter();
  }
  void TearDown() override {
    tables_.clear();
    GetParam()->Leave();
    current_ = nullptr;
  }

 private:
  static inline EveryDevice* current_ = nullptr;
  std::vector<std::unique_ptr<KernelTable>> tables_{4};
};

inline KernelTable& Table(int threads) { return EveryDevice::Table(threads); }

inline std::vector<TestDevice*> DevicesWithProducts() {
  std::vector<TestDevice*> devices = TestDevices();
  std::erase_if(devices, [](const TestDevice* device) { return !device->has_own_products(); });
  return devices;
}

#define ANNULUS_ON_EVERY_DEVICE(suite)                                  \
  INSTANTIATE_TEST_SUITE_P(, suite, ::testing::ValuesIn(TestDevices()), \
                           [](const auto& device) { return device.param->Name(); })

}  // namespace annulus::kernels::testing
