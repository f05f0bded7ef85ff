// What must never happen ends the process with the expression and the place.
#pragma once

namespace layerd {
[[noreturn]] void check_failed(const char* expression, const char* file, int line) noexcept;
}  // namespace layerd

#define LAYERD_CHECK(expression)                        \
  (static_cast<bool>(expression) ? static_cast<void>(0) \
                                 : ::layerd::check_failed(#expression, __FILE__, __LINE__))
