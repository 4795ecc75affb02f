// What code compiled with -fsanitize=thread calls for the host's atomic operations, as those of
// shared pointers. Kernels' own are emulated (atomics.h).
#include <cstdint>

#define ANNULUS_ATOMICS(bits)                                                                 \
  uint##bits##_t __tsan_atomic##bits##_load(const volatile uint##bits##_t* p, int) {          \
    return __atomic_load_n(p, __ATOMIC_SEQ_CST);                                              \
  }                                                                                           \
  void __tsan_atomic##bits##_store(volatile uint##bits##_t* p, uint##bits##_t value, int) {   \
    __atomic_store_n(p, value, __ATOMIC_SEQ_CST);                                             \
  }                                                                                           \
  int __tsan_atomic##bits##_compare_exchange_strong(                                          \
      volatile uint##bits##_t* p, uint##bits##_t* expected, uint##bits##_t value, int, int) { \
    return __atomic_compare_exchange_n(p, expected, value, false, __ATOMIC_SEQ_CST,           \
                                       __ATOMIC_SEQ_CST);                                     \
  }                                                                                           \
  int __tsan_atomic##bits##_compare_exchange_weak(                                            \
      volatile uint##bits##_t* p, uint##bits##_t* expected, uint##bits##_t value, int, int) { \
    return __tsan_atomic##bits##_compare_exchange_strong(p, expected, value, 0, 0);           \
  }                                                                                           \
  ANNULUS_EXCHANGE(bits, exchange, __atomic_exchange_n)                                       \
  ANNULUS_EXCHANGE(bits, fetch_add, __atomic_fetch_add)                                       \
  ANNULUS_EXCHANGE(bits, fetch_sub, __atomic_fetch_sub)                                       \
  ANNULUS_EXCHANGE(bits, fetch_and, __atomic_fetch_and)                                       \
  ANNULUS_EXCHANGE(bits, fetch_or, __atomic_fetch_or)                                         \
  ANNULUS_EXCHANGE(bits, fetch_xor, __atomic_fetch_xor)
#define ANNULUS_EXCHANGE(bits, name, operation)                                                 \
  uint##bits##_t __tsan_atomic##bits##_##name(volatile uint##bits##_t* p, uint##bits##_t value, \
                                              int) {                                            \
    return operation(p, value, __ATOMIC_SEQ_CST);                                               \
  }

extern "C" {
ANNULUS_ATOMICS(8)
ANNULUS_ATOMICS(16)
ANNULUS_ATOMICS(32)
ANNULUS_ATOMICS(64)
void __tsan_atomic_thread_fence(int) { __atomic_thread_fence(__ATOMIC_SEQ_CST); }
void __tsan_atomic_signal_fence(int) {}
}
