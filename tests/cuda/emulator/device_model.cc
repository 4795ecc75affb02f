#include "tests/cuda/emulator/device_model.h"

#include <array>
#include <stdexcept>

#include "tests/cuda/emulator/options.h"

namespace annulus::emulator {

const DeviceModel& TheDeviceModel() {
  static constexpr std::array<DeviceModel, 5> kModels = {{{80, 163 * 1024, 108},
                                                          {86, 99 * 1024, 84},
                                                          {89, 99 * 1024, 142},
                                                          {90, 227 * 1024, 132},
                                                          {100, 227 * 1024, 148}}};
  for (const DeviceModel& model : kModels) {
    if (model.capability == TheOptions().capability) return model;
  }
  throw std::invalid_argument("emulator: no device of this compute capability");
}

}  // namespace annulus::emulator
