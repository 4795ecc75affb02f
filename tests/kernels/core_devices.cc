// The instruction sets that Highway compiled and this CPU has.
#include <hwy/highway.h>

#include "kernels/cpu/cpu_table.h"
#include "tests/kernels/every_device.h"

namespace annulus::kernels::testing {
namespace {

class Cores final : public TestDevice {
 public:
  explicit Cores(int64_t target) : target_(target) {}

  std::string Name() const override { return hwy::TargetName(target_); }
  void Enter() override { hwy::GetChosenTarget().Update(target_); }
  void Leave() override { hwy::GetChosenTarget().Update(hwy::SupportedTargets()); }
  // Highway has no say in them.
  bool has_own_products() const override {
    return target_ == hwy::SupportedAndGeneratedTargets()[0];
  }
  std::unique_ptr<KernelTable> MakeTable(int threads) override {
    return std::make_unique<CpuTable>(threads);
  }

 private:
  int64_t target_;
};

}  // namespace

const std::vector<TestDevice*>& TestDevices() {
  static const std::vector<std::unique_ptr<Cores>> owned = [] {
    std::vector<std::unique_ptr<Cores>> devices;
    for (const int64_t target : hwy::SupportedAndGeneratedTargets()) {
      devices.push_back(std::make_unique<Cores>(target));
    }
    return devices;
  }();
  static const std::vector<TestDevice*> devices = [] {
    std::vector<TestDevice*> all;
    for (const auto& device : owned) all.push_back(device.get());
    return all;
  }();
  return devices;
}

}  // namespace annulus::kernels::testing
