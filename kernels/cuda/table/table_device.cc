#include "kernels/cuda/table/table_device.h"

#include <new>

namespace annulus::kernels::cuda {

static_assert(sizeof(DataFault) % alignof(double) == 0);

CudaKernelTable::Device::Device(const CudaTableOptions& options)
    : index(CurrentDevice()),
      properties(PropertiesOf(index)),
      products(options.tf32 ? F32Products::kTf32 : F32Products::kF32),
      tf32(options.tf32),
      pinned(ReservePinnedMemory(
          static_cast<int64_t>(sizeof(DataFault) + kMostPartialSums * sizeof(double)),
          "sums and faults")) {
  new (fault()) DataFault();
}

void CudaKernelTable::Device::Wait() {
  stream.Wait();
  const DataFault seen = *fault();
  if (seen.kind == DataFault::kNone) [[likely]]
    return;
  *fault() = {};
  Check(false, "{} {} is outside the vocabulary",
        seen.kind == DataFault::kToken ? "token" : "label", seen.value);
}

double CudaKernelTable::Device::Reduce(ConstView view, Summand summand) {
  const int64_t parts = PartialSums(view.size());
  if (parts > 0) SumParts(view, summand, partial_sums(), stream.get());
  Wait();
  double sum = 0;
  for (int64_t i = 0; i < parts; ++i) sum += partial_sums()[i];
  return sum;
}

}  // namespace annulus::kernels::cuda
