# How nvcc compiles kernels: annulus_nvcc_options, and annulus_nvcc_target(TARGET) for a target of
# .cu files.
# The standard by its flag: CMake 3.25 does not know it for this compiler.
set(annulus_nvcc_options -std=c++20 --expt-relaxed-constexpr
  "SHELL:-Xcompiler -Wall,-Wextra,-Wshadow,-Wconversion")
# What runs nvcc, before what the user has to run it (ccache keeps what a compiler tells as well).
set(annulus_nvcc_launcher "")
if(ANNULUS_WERROR)
  # ptxas warns of registers that spill to memory, but only tells of wgmma that it serialises.
  list(APPEND annulus_nvcc_options "SHELL:-Werror all-warnings"
    "SHELL:-Xptxas --warn-on-spills,--warning-as-error")
  set(annulus_nvcc_launcher ${CMAKE_CURRENT_LIST_DIR}/refuse_serialized.sh)
endif()

function(annulus_nvcc_target target)
  target_compile_options(${target} PRIVATE "$<$<COMPILE_LANGUAGE:CUDA>:${annulus_nvcc_options}>")
  # fmt 9 takes nvcc for a compiler that cannot evaluate its format strings.
  target_compile_definitions(${target} PRIVATE $<$<COMPILE_LANGUAGE:CUDA>:FMT_USE_CONSTEXPR=1>)
  set(launcher ${annulus_nvcc_launcher} ${CMAKE_CUDA_COMPILER_LAUNCHER})
  set_target_properties(${target} PROPERTIES CUDA_COMPILER_LAUNCHER "${launcher}")
endfunction()
