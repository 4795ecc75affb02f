# Headers of others that are parsed once for many targets, where ANNULUS_PRECOMPILED asks for it: half of
# what a file of ours takes to compile is to parse them. Builds without it (release) are what shows that
# every file includes what it needs.
#
# annulus_precompile_headers(NAME FOR TESTS|ALL HEADERS... [INCLUDES...] [OPTIONS...] [LIBRARIES...]) makes
# such a set, for targets that are compiled alike and have its macros at least;
# annulus_use_precompiled(TARGET NAME) uses it, if it was made.
if(NOT ANNULUS_PRECOMPILED MATCHES "^(OFF|TESTS|ALL)$")
  message(FATAL_ERROR "ANNULUS_PRECOMPILED is OFF, TESTS or ALL, not ${ANNULUS_PRECOMPILED}")
endif()
# ccache keeps what it can compare, which precompiled headers are not unless its user says so.
set(annulus_precompiled ${ANNULUS_PRECOMPILED})
if(CMAKE_CXX_COMPILER_LAUNCHER MATCHES "ccache")
  set(annulus_precompiled OFF)
endif()

# What most files include. No JSON: its parser costs more to load for all than to parse for some.
set(annulus_common_headers
  <algorithm> <filesystem> <fmt/format.h> <functional> <map> <memory> <string> <thread> <vector>)

function(annulus_precompile_headers name)
  cmake_parse_arguments(ARG "" "FOR" "HEADERS;INCLUDES;OPTIONS;LIBRARIES" ${ARGN})
  if(NOT annulus_precompiled MATCHES "^(ALL|${ARG_FOR})$")
    return()
  endif()
  set(target annulus_precompiled_${name})
  file(CONFIGURE OUTPUT ${target}.cc CONTENT "// Headers are all there is to compile.\n")
  add_library(${target} OBJECT EXCLUDE_FROM_ALL ${CMAKE_CURRENT_BINARY_DIR}/${target}.cc)
  target_link_libraries(${target} PRIVATE ${ARG_LIBRARIES})
  target_include_directories(${target} BEFORE PRIVATE ${ARG_INCLUDES})
  target_compile_options(${target} PRIVATE ${ARG_OPTIONS})
  target_precompile_headers(${target} PRIVATE ${ARG_HEADERS})
endfunction()

function(annulus_use_precompiled target name)
  if(TARGET annulus_precompiled_${name})
    target_precompile_headers(${target} REUSE_FROM annulus_precompiled_${name})
  endif()
endfunction()
