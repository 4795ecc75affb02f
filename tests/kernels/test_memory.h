// A stack for tests, that remembers what it gave.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <string_view>
#include <vector>

#include "kernels/base/memory.h"

namespace annulus::kernels::testing {

class TestMemory final : public StackMemory {
 public:
  // With a capacity of 0 it is dry: it counts and gives null.
  explicit TestMemory(int64_t capacity) : blocks_(static_cast<size_t>(capacity / kAlignment)) {}

  using StackMemory::Push;
  void* Push(int64_t bytes, MemoryCategory category, std::string_view, Reach) override {
    const Mark begin = top_;
    top_ += (bytes + kAlignment - 1) / kAlignment * kAlignment;
    peak_ = std::max(peak_, top_);
    last_category_ = category;
    if (blocks_.empty()) return nullptr;
    Check(top_ <= static_cast<int64_t>(blocks_.size()) * kAlignment, "the test's stack is full");
    return reinterpret_cast<std::byte*>(blocks_.data()) + begin;
  }
  Mark Top() const override { return top_; }
  void Release(Mark mark) override { top_ = mark; }

  int64_t peak_bytes() const { return peak_; }
  MemoryCategory last_category() const { return last_category_; }

 private:
  struct alignas(kAlignment) Block {
    std::byte bytes[kAlignment];
  };

  std::vector<Block> blocks_;
  Mark top_ = 0;
  int64_t peak_ = 0;
  MemoryCategory last_category_ = MemoryCategory::kWorkspace;
};

}  // namespace annulus::kernels::testing
