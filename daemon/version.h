// The version, from CMakeLists.txt.
#pragma once

namespace layerd::daemon {
#ifndef LAYERD_VERSION
#error "LAYERD_VERSION is set by CMakeLists.txt"
#endif
inline constexpr const char* kVersion = LAYERD_VERSION;
}  // namespace layerd::daemon
