// Non-owning tensors: plain data that names memory, element type, shape and stride.
#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <type_traits>
#include <utility>

#include "kernels/base/dtype.h"
#include "kernels/base/error.h"

namespace annulus::kernels {

// Shape letters used throughout:
//   B batch, T local query tokens, S key tokens, N = B*T rows, H query heads, Hkv key/value heads,
//   D head size, C hidden size, F intermediate size, V vocabulary, L layers, P context-parallel
//   size.
inline constexpr int kMaxRank = 4;
using Dims = std::array<int64_t, kMaxRank>;

// Void is void (memory may be written) or const void. Strides are in elements, the last dim varies
// fastest in every tensor annulus allocates. Dims at and past `rank` are 1.
template <class Void>
struct BasicView {
  Void* data = nullptr;
  DType dtype = DType::kF32;
  int rank = 0;
  Dims shape{1, 1, 1, 1};
  Dims stride{0, 0, 0, 0};

  BasicView() = default;

  // A contiguous row-major view.
  BasicView(Void* memory, DType type, std::initializer_list<int64_t> dims)
      : data(memory), dtype(type), rank(static_cast<int>(dims.size())) {
    Check(rank >= 1 && rank <= kMaxRank, "a view has 1 to {} dims, not {}", kMaxRank, rank);
    int dim = 0;
    for (int64_t extent : dims) shape[static_cast<size_t>(dim++)] = extent;
    int64_t step = 1;
    for (int d = rank - 1; d >= 0; --d) {
      stride[static_cast<size_t>(d)] = step;
      step *= shape[static_cast<size_t>(d)];
    }
  }

  // A view of memory that may be written is also a view of memory that may be read.
  template <class Other>
  requires(std::is_const_v<Void> && !std::is_const_v<Other>)
      BasicView(const BasicView<Other>& other)  // NOLINT(google-explicit-constructor)
      : data(other.data),
        dtype(other.dtype),
        rank(other.rank),
        shape(other.shape),
        stride(other.stride) {}

  int64_t dim(int d) const { return shape[static_cast<size_t>(d)]; }

  // Elements.
  int64_t size() const { return shape[0] * shape[1] * shape[2] * shape[3]; }
  int64_t size_bytes() const { return size() * SizeOf(dtype); }

  bool contiguous() const {
    int64_t step = 1;
    for (int d = rank - 1; d >= 0; --d) {
      const auto i = static_cast<size_t>(d);
      if (shape[i] != 1 && stride[i] != step) return false;
      step *= shape[i];
    }
    return true;
  }

  // The elements as T. Requires: T is this view's dtype.
  template <class T>
  auto As() const {
    using Element = std::conditional_t<std::is_const_v<Void>, const T, T>;
    Check(DTypeOf<T>::value == dtype, "a view of {} is read as another type", NameOf(dtype));
    return static_cast<Element*>(data);
  }

  // `count` entries of dim `d` from `begin` on; the same memory.
  BasicView Slice(int d, int64_t begin, int64_t count) const {
    Check(d < rank && begin >= 0 && count >= 0 && begin + count <= dim(d),
          "slice [{}, {}) of dim {} is outside {}", begin, begin + count, d, *this);
    BasicView out = *this;
    out.shape[static_cast<size_t>(d)] = count;
    out.data = Offset(begin * stride[static_cast<size_t>(d)]);
    return out;
  }

  // The last two dims exchanged; the same memory.
  BasicView Transposed() const {
    Check(rank >= 2, "{} has no two dims to exchange", *this);
    BasicView out = *this;
    const auto last = static_cast<size_t>(rank - 1);
    std::swap(out.shape[last], out.shape[last - 1]);
    std::swap(out.stride[last], out.stride[last - 1]);
    return out;
  }

  // The same elements under another shape. Requires: contiguous, equal size.
  BasicView Reshape(std::initializer_list<int64_t> dims) const {
    BasicView out(data, dtype, dims);
    Check(contiguous() && out.size() == size(), "{} cannot be reshaped to {}", *this, out);
    return out;
  }

  std::string ToString() const {
    return fmt::format("{}[{}]", NameOf(dtype),
                       fmt::join(shape.begin(), shape.begin() + rank, ","));
  }

 private:
  Void* Offset(int64_t elements) const {
    using Byte = std::conditional_t<std::is_const_v<Void>, const char, char>;
    return static_cast<Byte*>(data) + elements * SizeOf(dtype);
  }
};

using View = BasicView<void>;
using ConstView = BasicView<const void>;

}  // namespace annulus::kernels

// Views as arguments of Check(), which spells them out only where it fails.
template <class Void>
struct fmt::formatter<annulus::kernels::BasicView<Void>> : fmt::formatter<std::string> {
  template <class Context>
  auto format(const annulus::kernels::BasicView<Void>& view, Context& context) const {
    return fmt::formatter<std::string>::format(view.ToString(), context);
  }
};
