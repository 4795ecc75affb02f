#include "kernels/cpu/elementwise.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/elementwise.cc"
#include <hwy/foreach_target.h>
// Must come after foreach_target.h.
#include "kernels/cpu/parallel_blocks.h"
#include "kernels/cpu/vector-inl.h"

HWY_BEFORE_NAMESPACE();
namespace annulus::kernels::cpu {
namespace HWY_NAMESPACE {

template <class T>
void AddOf(const AddArgs& args, int64_t begin, int64_t end) {
  const T* x = args.x.As<T>() + begin;
  T* y = args.y.As<T>() + begin;
  ForEach(end - begin, [&](auto d, int64_t i) HWY_ATTR {
    StoreF32(hn::Add(LoadF32(d, y + i), LoadF32(d, x + i)), d, y + i);
  });
}

// Elements [begin, end).
void AddBlock(const AddArgs& args, int64_t begin, int64_t end) {
  args.y.dtype == DType::kBF16 ? AddOf<BFloat16>(args, begin, end) : AddOf<float>(args, begin, end);
}

const char* Isa() { return hwy::TargetName(HWY_TARGET); }

}  // namespace HWY_NAMESPACE
}  // namespace annulus::kernels::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace annulus::kernels::cpu {

namespace {

HWY_EXPORT(AddBlock);
HWY_EXPORT(Isa);

}  // namespace

void Add(const AddArgs& args, int threads) {
  ParallelBlocks(args.y.size(), kBlockElements, threads, [&](int64_t begin, int64_t end) {
    HWY_DYNAMIC_DISPATCH(AddBlock)(args, begin, end);
  });
}

std::string ElementwiseIsa() { return HWY_DYNAMIC_DISPATCH(Isa)(); }

}  // namespace annulus::kernels::cpu
#endif  // HWY_ONCE
