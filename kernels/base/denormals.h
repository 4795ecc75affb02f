// Numbers too small for a normal f32 count as 0 while kernels of CPU cores compute.
//
// A trained attention is sure of most keys: their probabilities, and all that is multiplied by
// them, lie below 2^-126, where x86 cores take some hundred cycles per operation. Without this the
// recall example slows down forty-fold once it has learnt. What is lost is below 1.2e-38.
#pragma once

#include <cstdint>

namespace annulus::kernels {

// Sets the calling thread's floating-point mode; its former mode is back at the end of the scope.
class FlushDenormals {
 public:
#if defined(__x86_64__)
  FlushDenormals() : before_(__builtin_ia32_stmxcsr()) {
    __builtin_ia32_ldmxcsr(before_ | kFlushToZero | kDenormalsAreZero);
  }
  ~FlushDenormals() { __builtin_ia32_ldmxcsr(before_); }

  // Calls `visit` in the former mode.
  template <class Visit>
  void Lift(Visit visit) const {
    const uint32_t mode = __builtin_ia32_stmxcsr();
    __builtin_ia32_ldmxcsr(before_);
    visit();
    __builtin_ia32_ldmxcsr(mode);
  }

  // For a thread that does nothing but compute.
  static void Forever() {
    __builtin_ia32_ldmxcsr(__builtin_ia32_stmxcsr() | kFlushToZero | kDenormalsAreZero);
  }

 private:
  static constexpr uint32_t kFlushToZero = 1u << 15;
  static constexpr uint32_t kDenormalsAreZero = 1u << 6;
  uint32_t before_;
#else
  // Other cores handle them at full speed, or have not been measured.
  FlushDenormals() {}
  ~FlushDenormals() {}
  template <class Visit>
  void Lift(Visit visit) const {
    visit();
  }
  static void Forever() {}
#endif

 public:
  FlushDenormals(const FlushDenormals&) = delete;
  FlushDenormals& operator=(const FlushDenormals&) = delete;
};

}  // namespace annulus::kernels
