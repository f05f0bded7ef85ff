# What nearly every file includes is parsed once and used again (a precompiled header): that halves the time of
# the builds that developers and CI wait for. Files still include what they use: the release build has none of this.
if(CMAKE_BUILD_TYPE STREQUAL "Release")
  set(LAYERD_PRELUDE_DEFAULT OFF)
else()
  set(LAYERD_PRELUDE_DEFAULT ON)
endif()
option(LAYERD_PRELUDE "precompile the standard headers" ${LAYERD_PRELUDE_DEFAULT})

if(LAYERD_PRELUDE)  # some libraries ask for it and some do not, and it must be the same for all
  add_compile_options(-pthread)
endif()
set(LAYERD_PRELUDE_HEADERS <algorithm> <array> <chrono> <cstdint> <functional> <map> <memory> <optional> <set>
    <string> <string_view> <utility> <vector> <fmt/core.h>)

# layerd_make_prelude(name headers...): the header itself, with the compile options of this folder.
function(layerd_make_prelude name)
  if(LAYERD_PRELUDE)
    file(WRITE ${CMAKE_CURRENT_BINARY_DIR}/${name}.cc "")
    add_library(${name} OBJECT ${CMAKE_CURRENT_BINARY_DIR}/${name}.cc)
    target_link_libraries(${name} PRIVATE spdlog::spdlog Threads::Threads)
    target_include_directories(${name} PRIVATE ${CMAKE_SOURCE_DIR})
    target_precompile_headers(${name} PRIVATE ${ARGN})
  endif()
endfunction()

function(layerd_use_prelude target name)
  if(LAYERD_PRELUDE)
    target_precompile_headers(${target} REUSE_FROM ${name})
  endif()
endfunction()
