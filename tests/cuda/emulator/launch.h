// Launches of kernels.
#pragma once

#include <cstddef>
#include <memory>
#include <tuple>
#include <utility>

#include "tests/cuda/emulator/runtime_types.h"

namespace annulus::emulator {

// A kernel with its arguments.
struct KernelCall {
  const void* kernel = nullptr;        // its address
  void (*run)(const void*) = nullptr;  // runs a thread, given `arguments`
  std::shared_ptr<const void> arguments;
  size_t argument_bytes = 0;
};

// What cudaLaunchKernelEx returns; what goes wrong while it runs is told later.
cudaError_t LaunchKernel(const cudaLaunchConfig_t& config, const KernelCall& call);

}  // namespace annulus::emulator

template <class... Parameters, class... Arguments>
cudaError_t cudaLaunchKernelEx(const cudaLaunchConfig_t* config, void (*kernel)(Parameters...),
                               Arguments&&... arguments) {
  struct Bound {
    // No temporary of this type: where GCC 12 fills variables with a pattern, it clears the wrong
    // bytes for padding of a tuple whose elements differ in alignment.
    Bound(void (*function)(Parameters...), Arguments&&... values_of)
        : kernel(function), values(std::forward<Arguments>(values_of)...) {}

    void (*kernel)(Parameters...);
    std::tuple<Parameters...> values;
  };
  auto bound = std::make_shared<Bound>(kernel, std::forward<Arguments>(arguments)...);
  auto run = [](const void* p) {
    const auto* at = static_cast<const Bound*>(p);
    std::apply(at->kernel, at->values);
  };
  return annulus::emulator::LaunchKernel(
      *config, {reinterpret_cast<const void*>(kernel), run, std::move(bound), sizeof(Bound)});
}
