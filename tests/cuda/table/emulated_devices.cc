// CUDA on the emulator, for tests of every device.
#include "kernels/cuda/cuda_table.h"
#include "tests/cuda/emulator/options.h"
#include "tests/cuda/table/mirror_table.h"
#include "tests/kernels/every_device.h"

namespace annulus::kernels::testing {
namespace {

class Emulated final : public TestDevice {
 public:
  explicit Emulated(int capability) : capability_(capability) {}

  std::string Name() const override { return fmt::format("sm_{}", capability_); }
  void Enter() override {
    before_ = emulator::TheOptions();
    emulator::SetOptions(fmt::format("capability={}", capability_));
  }
  void Leave() override { emulator::TheOptions() = before_; }

  // What may not change bits is the order that nothing decides.
  std::unique_ptr<KernelTable> MakeTable(int threads) override {
    constexpr const char* kOrders[] = {"", "schedule=inorder copies=lazy streams=lazy",
                                       "schedule=priority copies=eager streams=eager seed=3",
                                       "schedule=random copies=random streams=random "
                                       "blocks=shuffled seed=7"};
    return std::make_unique<MirrorTable>(
        CreateCudaTable({}), [order = kOrders[threads]] { emulator::SetOptions(order); });
  }
  bool is_fast() const override { return false; }

 private:
  int capability_;
  emulator::Options before_;
};

}  // namespace

const std::vector<TestDevice*>& TestDevices() {
  static Emulated sm_80(80);
  static const std::vector<TestDevice*> devices = {&sm_80};
  return devices;
}

}  // namespace annulus::kernels::testing
