# Everything comes from the distribution's packages; README.md says what each is for.
find_package(Threads REQUIRED)
find_package(PkgConfig REQUIRED)
find_package(OpenSSL 3 REQUIRED)
find_package(yaml-cpp REQUIRED)
find_package(nlohmann_json REQUIRED)
find_package(CLI11 REQUIRED)
find_package(spdlog REQUIRED)
pkg_check_modules(uv REQUIRED IMPORTED_TARGET libuv)
pkg_check_modules(cares REQUIRED IMPORTED_TARGET libcares)
pkg_check_modules(lmdb REQUIRED IMPORTED_TARGET lmdb)
pkg_check_modules(re2 REQUIRED IMPORTED_TARGET re2)

add_library(layerd_spdlog INTERFACE)
target_link_libraries(layerd_spdlog INTERFACE spdlog::spdlog nlohmann_json::nlohmann_json)

# llhttp: a library of its own from Debian 13 on; on Debian 12 and Ubuntu 24.04 the package
# node-llhttp brings the C sources, built here into a small static library.
pkg_check_modules(llhttp QUIET IMPORTED_TARGET libllhttp)
add_library(layerd_llhttp INTERFACE)
find_path(LLHTTP_SOURCE_DIR llhttp.c PATHS /usr/share/llhttp NO_DEFAULT_PATH)
find_path(LLHTTP_INCLUDE_DIR llhttp.h PATHS /usr/share/include/llhttp /usr/include NO_DEFAULT_PATH)
if(llhttp_FOUND)
  target_link_libraries(layerd_llhttp INTERFACE PkgConfig::llhttp)
elseif(LLHTTP_SOURCE_DIR AND LLHTTP_INCLUDE_DIR)
  add_library(llhttp_objects STATIC ${LLHTTP_SOURCE_DIR}/api.c ${LLHTTP_SOURCE_DIR}/http.c
                                    ${LLHTTP_SOURCE_DIR}/llhttp.c)
  target_include_directories(llhttp_objects SYSTEM PUBLIC ${LLHTTP_INCLUDE_DIR})
  target_compile_options(llhttp_objects PRIVATE -w)
  target_compile_definitions(llhttp_objects PRIVATE LLHTTP_STRICT_MODE=1)  # as llhttp 9 always is
  target_link_libraries(layerd_llhttp INTERFACE llhttp_objects)
else()
  find_library(LLHTTP_LIBRARY llhttp REQUIRED)
  find_path(LLHTTP_ANY_INCLUDE llhttp.h REQUIRED)
  target_link_libraries(layerd_llhttp INTERFACE ${LLHTTP_LIBRARY})
  target_include_directories(layerd_llhttp SYSTEM INTERFACE ${LLHTTP_ANY_INCLUDE})
endif()
