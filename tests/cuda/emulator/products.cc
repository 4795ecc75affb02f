#include "tests/cuda/emulator/products.h"

#include <algorithm>

namespace annulus::emulator {

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
__attribute__((target_clones("avx2", "default")))
#endif
void SumProducts(int rows, int columns, const float* a, const float* b, double* sum) {
  for (int i = 0; i < rows; ++i) {
    double* row = sum + i * columns;
    std::fill_n(row, columns, 0.0);
    for (int k = 0; k < kProductDepth; ++k) {
      const double factor = a[i * kProductDepth + k];
      const float* other = b + k * columns;
      for (int j = 0; j < columns; ++j) row[j] += factor * other[j];
    }
  }
}

}  // namespace annulus::emulator
