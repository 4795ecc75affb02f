# Attention on CUDA devices.
include(${PROJECT_SOURCE_DIR}/kernels/cuda/sources.cmake)
annulus_add_emulated_library(annulus_emulated_attention SOURCES ${annulus_cuda_attention_sources}
                             LIBRARIES annulus_kernels)

set(annulus_attention_cases
  attention_device.cc ../kernels/attention_case.cc ../kernels/attention_draw.cc)
annulus_emulated_test(cuda_attention_test
  SOURCES attention_test.cc ${annulus_attention_cases}
  EMULATED annulus_emulated_attention LIBRARIES annulus_reference annulus_kernels)

# Calls the function for the flavour `plain` alone, which is the fastest.
function(annulus_plain_emulated_test)
  list(FILTER ANNULUS_EMULATED_FLAVOURS INCLUDE REGEX "^plain$")
  annulus_emulated_test(${ARGN})
endfunction()
annulus_plain_emulated_test(cuda_attention_schedules_test
  SOURCES attention_schedules_test.cc attention_sweep_test.cc ${annulus_attention_cases}
  EMULATED annulus_emulated_attention LIBRARIES annulus_reference annulus_kernels)
annulus_plain_emulated_test(cuda_turns_test
  SOURCES turns_test.cu ../kernels/attention_case.cc ../kernels/attention_draw.cc
  EMULATED annulus_emulated_attention LIBRARIES annulus_reference annulus_kernels)
