# Kernels as C++ on the emulator, in three flavours:
#   plain  optimised
#   race   every access of a kernel is seen by the race detector
#   asan   AddressSanitizer and UndefinedBehaviorSanitizer
#
# annulus_add_emulated_library(NAME SOURCES...) makes static libraries NAME_plain, NAME_race and
# NAME_asan of .cu and .cc files. annulus_emulated_test(NAME SOURCES... [LIBRARIES...] [EMULATED...])
# makes the GoogleTest programs NAME_plain, NAME_race and NAME_asan, whose CTest tests bear the flavour
# as prefix: EMULATED names libraries of the first function, whose flavour is linked, LIBRARIES any.
set(ANNULUS_EMULATED_FLAVOURS plain race asan)
# A build whose own code is sanitized has no flavours with other sanitizers: they exclude each other.
if(ANNULUS_SANITIZE)
  set(ANNULUS_EMULATED_FLAVOURS plain)
endif()

set(annulus_emulated_plain -O2)
set(annulus_emulated_race -O1 -fsanitize=thread)
# Checks of every pointer take a tenth of the time to compile; what is null is a page fault.
set(annulus_emulated_asan -O1 -fsanitize=address,undefined -fno-sanitize=vptr,null,object-size
    -fno-sanitize-recover=all -fno-omit-frame-pointer)

set(annulus_emulated_include ${PROJECT_SOURCE_DIR}/tests/cuda/emulator/include)

# A kernel's fmaf is an instruction where this machine has it, and else a call that takes it several
# times as long. Bits are the same: no other sum is contracted.
set(annulus_emulated_arithmetic -ffp-contract=off)
if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
  include(CheckCXXSourceRuns)
  check_cxx_source_runs("int main() { return __builtin_cpu_supports(\"fma\") ? 0 : 1; }"
                        ANNULUS_CPU_HAS_FMA)
  if(ANNULUS_CPU_HAS_FMA)
    list(APPEND annulus_emulated_arithmetic -mfma)
  endif()
endif()

# Options that a flavour's sources are compiled with, into `result`.
function(annulus_emulated_options flavour result)
  # Local memory starts as no plausible number; calls return to the line that reports name.
  set(options ${annulus_emulated_${flavour}} ${annulus_emulated_arithmetic} -g1 -fno-optimize-sibling-calls
      -Wno-unknown-pragmas -Wno-conversion)
  include(CheckCXXCompilerFlag)
  check_cxx_compiler_flag(-ftrivial-auto-var-init=pattern ANNULUS_HAS_PATTERN_INIT)
  if(ANNULUS_HAS_PATTERN_INIT)
    list(APPEND options -ftrivial-auto-var-init=pattern)
  endif()
  if(NOT flavour STREQUAL plain)
    # Kernels and what they are launched by; a debug build's own sanitizers are not mixed with these.
    # Under sanitizers GCC takes fmt's arguments for uninitialised.
    list(APPEND options -U_FORTIFY_SOURCE -Wno-uninitialized -Wno-maybe-uninitialized)
  endif()
  set(${result} ${options} PARENT_SCOPE)
endfunction()

function(annulus_emulated_target target flavour)
  annulus_emulated_options(${flavour} options)
  target_compile_options(${target} PRIVATE ${options})
  target_compile_features(${target} PRIVATE cxx_std_20)
  target_include_directories(${target} BEFORE PRIVATE ${annulus_emulated_include})
  # All are compiled alike, whether they use fmt or not.
  target_link_libraries(${target} PUBLIC annulus_emulator_${flavour} PRIVATE fmt::fmt)
endfunction()

# Precompiled headers: kernels_FLAVOUR for kernels, emulated_FLAVOUR for tests of them.
foreach(flavour IN LISTS ANNULUS_EMULATED_FLAVOURS)
  annulus_emulated_options(${flavour} options)
  set(headers ${annulus_emulated_include}/cuda_runtime.h ${annulus_common_headers})
  annulus_precompile_headers(kernels_${flavour} FOR TESTS OPTIONS ${options}
    LIBRARIES annulus_options fmt::fmt INCLUDES ${annulus_emulated_include} HEADERS ${headers})
  annulus_precompile_headers(emulated_${flavour} FOR TESTS OPTIONS ${options}
    LIBRARIES annulus_options fmt::fmt GTest::gmock INCLUDES ${annulus_emulated_include}
    HEADERS ${headers} <gmock/gmock.h> <gtest/gtest.h>)
endforeach()

function(annulus_add_emulated_library name)
  cmake_parse_arguments(ARG "" "" "SOURCES;LIBRARIES" ${ARGN})
  set_source_files_properties(${ARG_SOURCES} PROPERTIES LANGUAGE CXX)
  foreach(flavour IN LISTS ANNULUS_EMULATED_FLAVOURS)
    add_library(${name}_${flavour} STATIC EXCLUDE_FROM_ALL ${ARG_SOURCES})
    annulus_emulated_target(${name}_${flavour} ${flavour})
    annulus_use_precompiled(${name}_${flavour} kernels_${flavour})
    target_link_libraries(${name}_${flavour} PUBLIC ${ARG_LIBRARIES})
  endforeach()
endfunction()

function(annulus_emulated_test name)
  cmake_parse_arguments(ARG "" "" "SOURCES;LIBRARIES;EMULATED" ${ARGN})
  set_source_files_properties(${ARG_SOURCES} PROPERTIES LANGUAGE CXX)
  foreach(flavour IN LISTS ANNULUS_EMULATED_FLAVOURS)
    set(target ${name}_${flavour})
    add_executable(${target} ${ARG_SOURCES})
    annulus_emulated_target(${target} ${flavour})
    annulus_use_precompiled(${target} emulated_${flavour})
    list(TRANSFORM ARG_EMULATED APPEND _${flavour} OUTPUT_VARIABLE emulated)
    target_link_libraries(${target} PRIVATE annulus_emulator_main ${emulated} ${ARG_LIBRARIES}
                          annulus_emulator_${flavour} GTest::gtest)
    set_target_properties(${target} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/tests)
    gtest_discover_tests(${target} DISCOVERY_MODE PRE_TEST NO_PRETTY_VALUES
                         TEST_PREFIX "${flavour}." PROPERTIES LABELS emulated)
  endforeach()
endfunction()
