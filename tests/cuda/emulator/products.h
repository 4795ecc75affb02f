// Sums of products for emulated tensor cores.
#pragma once

namespace annulus::emulator {

inline constexpr int kProductDepth = 16;

// sum [rows,columns] = a [rows,16] b [16,columns], all dense. Products of 16-bit floats are exact
// in double, and so are their sums but for extreme ranges.
void SumProducts(int rows, int columns, const float* a, const float* b, double* sum);

}  // namespace annulus::emulator
