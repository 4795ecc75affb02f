// The GPU of this machine, for tests of every device.
#include "kernels/cuda/cuda_table.h"
#include "tests/cuda/table/mirror_table.h"
#include "tests/kernels/every_device.h"

namespace annulus::kernels::testing {
namespace {

class Gpu final : public TestDevice {
 public:
  std::string Name() const override { return "gpu"; }
  std::unique_ptr<KernelTable> MakeTable(int) override {
    return std::make_unique<MirrorTable>(CreateCudaTable({}), [] {});
  }
  bool is_fast() const override { return true; }
};

}  // namespace

const std::vector<TestDevice*>& TestDevices() {
  static Gpu gpu;
  static const std::vector<TestDevice*> devices = {&gpu};
  return devices;
}

}  // namespace annulus::kernels::testing
