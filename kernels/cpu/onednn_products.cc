#include "kernels/cpu/onednn_products.h"

#include <omp.h>

#include <algorithm>
#include <array>
#include <dnnl.hpp>
#include <optional>
#include <unordered_map>
#include <utility>

#include "kernels/base/denormals.h"

namespace annulus::kernels::cpu {
namespace {

using dnnl::matmul;
using dnnl::memory;

// m, n, k, then the two strides of a, b and c, accumulate and two dtypes: all that a primitive
// depends on.
using Key = std::array<int64_t, 12>;

struct KeyHash {
  size_t operator()(const Key& key) const {
    uint64_t hash = 0;
    for (int64_t value : key) {
      hash = (hash ^ static_cast<uint64_t>(value)) * 0x9e3779b97f4a7c15u;  // Fibonacci hashing
      hash ^= hash >> 29;
    }
    return static_cast<size_t>(hash);
  }
};

Key KeyOf(const MatMulArgs& args) {
  return {args.c.dim(0),
          args.c.dim(1),
          args.a.dim(1),
          args.a.stride[0],
          args.a.stride[1],
          args.b.stride[0],
          args.b.stride[1],
          args.c.stride[0],
          args.c.stride[1],
          args.accumulate,
          static_cast<int64_t>(args.a.dtype),
          static_cast<int64_t>(args.c.dtype)};
}

memory::desc Describe(const ConstView& view) {
  const auto type = view.dtype == DType::kBF16 ? memory::data_type::bf16 : memory::data_type::f32;
  return {{view.dim(0), view.dim(1)}, type, {view.stride[0], view.stride[1]}};
}

matmul::primitive_desc Plan(const MatMulArgs& args, const dnnl::engine& engine) {
  dnnl::primitive_attr attributes;
  attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  if (args.accumulate) {
    dnnl::post_ops sum;
    sum.append_sum(1.0f);
    attributes.set_post_ops(sum);
  }
  const memory::desc a = Describe(args.a), b = Describe(args.b), c = Describe(args.c);
#if DNNL_VERSION_MAJOR >= 3
  return {engine, a, b, c, attributes};
#else
  return {matmul::desc(a, b, c), attributes, engine};
#endif
}

// A weight gradient (a transposed) sums over tokens, and is folded in so many of them at a time.
// Given more, oneDNN may split the sum over threads: bits would depend on their number (2.6.3 does
// it from 2048 on for results of 64 columns). Costs or gains up to a tenth of the time.
constexpr int64_t kFoldTokens = 1024;

// Terms [begin, begin + count) of the sum that a product is.
MatMulArgs Fold(const MatMulArgs& args, int64_t begin, int64_t count, bool accumulate) {
  return {args.a.Slice(1, begin, count), args.b.Slice(0, begin, count), args.c, accumulate};
}

// Calls `work`, with oneDNN's failure told as one of this product.
template <class Work>
auto Guarded(const MatMulArgs& args, const Work& work) {
  try {
    return work();
  } catch (const dnnl::error& error) {
    ThrowSystemError("oneDNN: matmul of {} and {} into {}: {} (status {})", args.a.ToString(),
                     args.b.ToString(), args.c.ToString(), error.what(),
                     static_cast<int>(error.status));
  }
}

}  // namespace

bool IsRowMajor(const ConstView& view) {
  return view.stride[1] == 1 && (view.stride[0] >= view.dim(1) || view.dim(0) == 1);
}

struct OneDnnProducts::Cache {
  // A primitive and the memory objects its operands are handed over in.
  struct Product {
    Product(const MatMulArgs& args, const dnnl::engine& engine)
        : plan(Plan(args, engine)),
          a(plan.src_desc(), engine, nullptr),
          b(plan.weights_desc(), engine, nullptr),
          c(plan.dst_desc(), engine, nullptr),
          scratch(plan.scratchpad_desc(), engine, nullptr) {}

    matmul::primitive_desc plan;
    std::optional<matmul> primitive;
    memory a, b, c, scratch;
  };

  // The product's scratch in bytes.
  int64_t ScratchBytes(const MatMulArgs& args) {
    return static_cast<int64_t>(Find(args).plan.scratchpad_desc().get_size());
  }

  void Execute(const MatMulArgs& args, const View& scratch) {
    const int64_t needed = ScratchBytes(args);
    Check(scratch.size_bytes() >= needed, "matmul scratch of {} bytes, {} needed",
          scratch.size_bytes(), needed);
    Product& product = Find(args);
    if (!product.primitive) product.primitive.emplace(product.plan);
    product.a.set_data_handle(const_cast<void*>(args.a.data));
    product.b.set_data_handle(const_cast<void*>(args.b.data));
    product.c.set_data_handle(args.c.data);
    product.scratch.set_data_handle(scratch.data);
    product.primitive->execute(stream, {{DNNL_ARG_SRC, product.a},
                                        {DNNL_ARG_WEIGHTS, product.b},
                                        {DNNL_ARG_DST, product.c},
                                        {DNNL_ARG_SCRATCHPAD, product.scratch}});
    stream.wait();
  }

  Product& Find(const MatMulArgs& args) {
    const Key key = KeyOf(args);
    if (auto found = products.find(key); found != products.end()) return found->second;
    return products.try_emplace(key, args, engine).first->second;
  }

  dnnl::engine engine{dnnl::engine::kind::cpu, 0};
  dnnl::stream stream{engine};
  std::unordered_map<Key, Product, KeyHash> products;
};

OneDnnProducts::OneDnnProducts(int threads) : threads_(threads), cache_(std::make_unique<Cache>()) {
  // oneDNN runs on the OpenMP threads of this thread, which live on between calls.
#pragma omp parallel num_threads(threads)
  if (omp_get_thread_num() != 0) FlushDenormals::Forever();
}
OneDnnProducts::~OneDnnProducts() = default;

int64_t OneDnnProducts::FoldDepth(const MatMulArgs& args) {
  return IsRowMajor(args.a) ? args.a.dim(1) : std::min(args.a.dim(1), kFoldTokens);
}

int64_t OneDnnProducts::ScratchBytes(const MatMulArgs& args) {
  const int64_t depth = args.a.dim(1), step = FoldDepth(args);
  return Guarded(args, [&] {
    omp_set_num_threads(threads_);
    int64_t bytes = cache_->ScratchBytes(Fold(args, 0, step, args.accumulate));
    if (depth > step) bytes = std::max(bytes, cache_->ScratchBytes(Fold(args, 0, step, true)));
    if (const int64_t rest = depth % step; rest > 0) {
      bytes = std::max(bytes, cache_->ScratchBytes(Fold(args, 0, rest, true)));
    }
    return bytes;
  });
}

void OneDnnProducts::MatMul(const MatMulArgs& args, View scratch) {
  const int64_t depth = args.a.dim(1), step = FoldDepth(args);
  Check(depth <= step || args.c.dtype == DType::kF32, "a sum folded into {}", args.c.ToString());
  const FlushDenormals mode;
  Guarded(args, [&] {
    // oneDNN plans and runs for the calling thread's OpenMP thread count.
    omp_set_num_threads(threads_);
    for (int64_t begin = 0; begin < depth; begin += step) {
      const int64_t count = std::min(step, depth - begin);
      cache_->Execute(Fold(args, begin, count, args.accumulate || begin > 0), scratch);
    }
  });
}

bool OneDnnProducts::KeepsBits() {
  return Implementation(DType::kF32).find("avx512") != std::string::npos;
}

std::string OneDnnProducts::Version() {
  const dnnl_version_t* version = dnnl_version();
  return fmt::format("{}.{}.{}", version->major, version->minor, version->patch);
}

std::string OneDnnProducts::Implementation(DType dtype) {
  const View typical(nullptr, dtype, {64, 64});
  const dnnl::engine engine(dnnl::engine::kind::cpu, 0);
  try {
    return Plan({typical, typical, typical}, engine).impl_info_str();
  } catch (const dnnl::error&) {
    return "";
  }
}

}  // namespace annulus::kernels::cpu
