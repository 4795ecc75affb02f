#include "kernels/base/memory.h"

namespace annulus::kernels {

std::string_view NameOf(MemoryCategory category) {
  switch (category) {
    case MemoryCategory::kParameters:
      return "parameters";
    case MemoryCategory::kGradients:
      return "gradients";
    case MemoryCategory::kOptimizer:
      return "optimizer";
    case MemoryCategory::kBatch:
      return "batch";
    case MemoryCategory::kActivations:
      return "activations";
    case MemoryCategory::kLogits:
      return "logits";
    case MemoryCategory::kAttention:
      return "attention";
    case MemoryCategory::kRing:
      return "ring";
    case MemoryCategory::kWorkspace:
      return "workspace";
  }
  return "?";
}

}  // namespace annulus::kernels
