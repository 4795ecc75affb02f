# How nvcc compiles kernels: annulus_nvcc_options and annulus_nvcc_definitions.
# The standard by its flag: CMake 3.25 does not know it for this compiler.
set(annulus_nvcc_options -std=c++20 --expt-relaxed-constexpr
  "SHELL:-Xcompiler -Wall,-Wextra,-Wshadow,-Wconversion")
if(ANNULUS_WERROR)
  # ptxas warns of registers that spill to memory, and of wgmma instructions that it serialises.
  list(APPEND annulus_nvcc_options "SHELL:-Werror all-warnings"
    "SHELL:-Xptxas --warn-on-spills,--warning-as-error")
endif()
# fmt 9 takes nvcc for a compiler that cannot evaluate its format strings.
set(annulus_nvcc_definitions FMT_USE_CONSTEXPR=1)
