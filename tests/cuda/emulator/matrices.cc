// ldmatrix and mma.sync. Layouts: PTX ISA, "Warp Level Matrix Instructions".
#include <array>
#include <bit>
#include <cstring>

#include "tests/cuda/emulator/access.h"
#include "tests/cuda/emulator/block.h"
#include "tests/cuda/emulator/collectives.h"
#include "tests/cuda/emulator/counters.h"
#include "tests/cuda/emulator/elements.h"
#include "tests/cuda/emulator/instructions.h"
#include "tests/cuda/emulator/products.h"
#include "tests/cuda/emulator/text.h"

namespace annulus::emulator {
namespace {

using Matrix = std::array<std::array<uint16_t, 8>, 8>;

struct RowArgument {
  uint32_t* registers;
  int matrices;
  bool transposed;
  uint32_t address;
};

// Row r of matrix m, by the lane that has its address.
void ReadRow(const RowArgument& argument, int lane, Place at, std::array<uint16_t, 8>& row) {
  if (argument.address % 16 != 0) {
    Tell(Defect::kMemory, Text("a row of a matrix at 0x%x is not aligned to 16 bytes, at %s",
                               argument.address, LineOf(at).c_str()));
  }
  const std::byte* memory = block->shared.At(argument.address, 16, "ldmatrix", at);
  if (block->shared.Contains(memory)) {
    CheckAccess({memory, 16, Access::kRead, at, self->warp * 32 + lane, false});
  }
  std::memcpy(row.data(), memory, sizeof row);
}

void WriteRow(const RowArgument& argument, int lane, Place at, const std::array<uint16_t, 8>& row) {
  if (argument.address % 16 != 0) {
    Tell(Defect::kMemory, Text("a row of a matrix at 0x%x is not aligned to 16 bytes, at %s",
                               argument.address, LineOf(at).c_str()));
  }
  std::byte* memory = block->shared.At(argument.address, 16, "stmatrix", at);
  if (block->shared.Contains(memory)) {
    CheckAccess({memory, 16, Access::kWrite, at, self->warp * 32 + lane, false});
  }
  std::memcpy(memory, row.data(), sizeof row);
}

// Rows whose 16 bytes lie in banks that an earlier row of the matrix uses.
void CountConflicts(void* const* arguments, int first_lane) {
  uint32_t used = 0;
  for (int row = 0; row < 8; ++row) {
    const auto* argument = static_cast<RowArgument*>(arguments[first_lane + row]);
    const uint32_t bank = 1u << (argument->address / 16 % 8);
    if ((used & bank) != 0) Count(&Counters::ldmatrix_conflicts);
    used |= bank;
  }
}

// Lane l has the elements 2 (l % 4) and the next of row l / 4; of column l / 4 if transposed.
uint32_t Element(const Matrix& matrix, int lane, int which, bool transposed) {
  const auto line = static_cast<size_t>(lane / 4);
  const auto place = static_cast<size_t>(lane % 4 * 2 + which);
  return transposed ? matrix[place][line] : matrix[line][place];
}

void LoadMatrices(void* const* arguments, uint32_t, Place at) {
  Count(&Counters::ldmatrix);
  const auto argument = [arguments](int lane) -> RowArgument& {
    return *static_cast<RowArgument*>(arguments[lane]);
  };
  const bool transposed = argument(0).transposed;
  for (int m = 0; m < argument(0).matrices; ++m) {
    CountConflicts(arguments, 8 * m);
    Matrix matrix;
    for (int r = 0; r < 8; ++r) {
      ReadRow(argument(8 * m + r), 8 * m + r, at, matrix[static_cast<size_t>(r)]);
    }
    for (int lane = 0; lane < 32; ++lane) {
      argument(lane).registers[m] =
          Element(matrix, lane, 0, transposed) | Element(matrix, lane, 1, transposed) << 16;
    }
  }
}

void StoreMatrices(void* const* arguments, uint32_t, Place at) {
  const auto argument = [arguments](int lane) -> RowArgument& {
    return *static_cast<RowArgument*>(arguments[lane]);
  };
  for (int m = 0; m < argument(0).matrices; ++m) {
    CountConflicts(arguments, 8 * m);
    Matrix matrix;
    for (int lane = 0; lane < 32; ++lane) {
      const uint32_t pair = argument(lane).registers[m];
      auto& row = matrix[static_cast<size_t>(lane / 4)];
      row[static_cast<size_t>(lane % 4 * 2)] = static_cast<uint16_t>(pair);
      row[static_cast<size_t>(lane % 4 * 2 + 1)] = static_cast<uint16_t>(pair >> 16);
    }
    for (int r = 0; r < 8; ++r) {
      WriteRow(argument(8 * m + r), 8 * m + r, at, matrix[static_cast<size_t>(r)]);
    }
  }
}

struct MmaArgument {
  Fragments fragments;
  MmaOperands operands;
};

// Operands of a product [16 x K] [K x 8]; what K leaves of 16 is 0.
struct Product {
  std::array<std::array<float, 16>, 16> a{};
  std::array<std::array<float, 8>, 16> b{};
};

// Registers r of a: rows g and g + 8, columns t and t + K / 2; of b: rows t and t + K / 2, column
// g. 16-bit elements come in pairs of neighbours.
void Gather(const MmaArgument& argument, int lane, Product& product) {
  const bool wide = argument.fragments == Fragments::kTf32;
  const int elements = wide ? 1 : 2;
  const int half = wide ? 4 : 8;
  const int g = lane / 4, t = lane % 4 * elements;
  for (int r = 0; r < 4; ++r) {
    for (int e = 0; e < elements; ++e) {
      const auto row = static_cast<size_t>(g + r % 2 * 8);
      const auto column = static_cast<size_t>(t + r / 2 * half + e);
      product.a[row][column] = ElementOf(argument.fragments, argument.operands.a[r], e);
    }
  }
  for (int r = 0; r < 2; ++r) {
    for (int e = 0; e < elements; ++e) {
      const auto row = static_cast<size_t>(t + r * half + e);
      product.b[row][static_cast<size_t>(g)] =
          ElementOf(argument.fragments, argument.operands.b[r], e);
    }
  }
}

// Products are exact, sums are double, rounded once: tensor cores round otherwise, which tests must
// not rely on.
void Multiply(void* const* arguments, uint32_t, Place) {
  Count(&Counters::mma);
  Product product;
  for (int lane = 0; lane < 32; ++lane) {
    Gather(*static_cast<MmaArgument*>(arguments[lane]), lane, product);
  }
  std::array<std::array<double, 8>, 16> sum;
  SumProducts(16, 8, product.a[0].data(), product.b[0].data(), sum[0].data());
  for (int lane = 0; lane < 32; ++lane) {
    float* d = static_cast<MmaArgument*>(arguments[lane])->operands.d;
    for (int r = 0; r < 4; ++r) {
      const auto row = static_cast<size_t>(lane / 4 + r / 2 * 8);
      const auto column = static_cast<size_t>(lane % 4 * 2 + r % 2);
      d[r] = static_cast<float>(sum[row][column] + double{d[r]});
    }
  }
}

}  // namespace

void LdMatrix(uint32_t* registers, int matrices, bool transposed, uint32_t address, Place at) {
  RowArgument argument{registers, matrices, transposed, address};
  Meet(transposed ? "ldmatrix.trans" : "ldmatrix", kAllLanes, &argument, LoadMatrices, at);
}

void StMatrix(const uint32_t* registers, int matrices, uint32_t address, Place at) {
  RowArgument argument{const_cast<uint32_t*>(registers), matrices, false, address};
  Meet("stmatrix", kAllLanes, &argument, StoreMatrices, at);
}

void Mma(Fragments fragments, const MmaOperands& operands, Place at) {
  MmaArgument argument{fragments, operands};
  Meet("mma", kAllLanes, &argument, Multiply, at);
}

}  // namespace annulus::emulator
