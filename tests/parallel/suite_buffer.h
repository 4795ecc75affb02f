// Tensors of the communicator suite, wherever its communicator moves them.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "kernels/base/view.h"
#include "tests/parallel/communicator_suite.h"
#include "tests/parallel/suite_values.h"

namespace annulus::parallel {

// Where the calling thread's tensors are; null: in the host's memory.
inline thread_local TensorMemory* tensor_memory = nullptr;

// Elements with memory of their own, which the host reads and writes through operator[]: between an
// operation that is done and view() for the next one.
class Buffer {
 public:
  explicit Buffer(int64_t size) : values_(static_cast<size_t>(size), -1.0f) {
    if (tensor_memory != nullptr && size > 0) tensor_ = tensor_memory->Allocate(size_bytes());
  }
  Buffer(Buffer&& other) noexcept
      : values_(std::move(other.values_)),
        tensor_(std::exchange(other.tensor_, nullptr)),
        holds_(other.holds_) {}
  Buffer& operator=(Buffer&&) = delete;
  ~Buffer() {
    if (tensor_ != nullptr) tensor_memory->Free(tensor_);
  }
  static Buffer SaidBy(int rank, int64_t size) {
    Buffer buffer(size);
    for (int64_t i = 0; i < size; ++i) buffer[i] = Said(rank, i);
    return buffer;
  }

  float& operator[](int64_t i) {
    Fetch();
    return values_[static_cast<size_t>(i)];
  }
  int64_t size() const { return static_cast<int64_t>(values_.size()); }
  View view() {
    if (tensor_ == nullptr) return View(values_.data(), kernels::DType::kF32, {size()});
    if (holds_ == Holds::kValues) tensor_memory->Upload(values_.data(), tensor_, size_bytes());
    holds_ = Holds::kTensor;
    return View(tensor_, kernels::DType::kF32, {size()});
  }
  std::string bytes() {
    Fetch();
    return {reinterpret_cast<const char*>(values_.data()), values_.size() * sizeof(float)};
  }

 private:
  enum class Holds : uint8_t { kValues, kTensor };  // what was written last

  int64_t size_bytes() const { return size() * static_cast<int64_t>(sizeof(float)); }
  void Fetch() {
    if (tensor_ == nullptr || holds_ == Holds::kValues) return;
    tensor_memory->Download(tensor_, values_.data(), size_bytes());
    holds_ = Holds::kValues;
  }

  std::vector<float> values_;
  void* tensor_ = nullptr;
  Holds holds_ = Holds::kValues;
};

}  // namespace annulus::parallel
