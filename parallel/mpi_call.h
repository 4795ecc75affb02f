// What all files that call MPI share. Includes mpi.h: for those .cc files only.
#pragma once

#include <mpi.h>

#include <exception>
#include <string>
#include <string_view>

#include "kernels/base/error.h"

namespace annulus::parallel {

std::string MpiErrorText(int code);

// `where()` is a text: the rank, and operation and peer if there are any.
template <class Where>
void CheckMpi(int code, std::string_view call, const Where& where) {
  if (code != MPI_SUCCESS) [[unlikely]] {
    ThrowSystemError("{}: {}: {}", where(), call, MpiErrorText(code));
  }
}

// Of a rank that is failing, what is collective must be left be: its peers do not come.
inline bool Unwinding() { return std::uncaught_exceptions() > 0; }

}  // namespace annulus::parallel
