#include "runtime/check.h"

#include <cstdio>
#include <cstdlib>

namespace layerd {

void check_failed(const char* expression, const char* file, int line) noexcept {
  std::fprintf(stderr, "layerd: check failed: %s (%s:%d)\n", expression, file, line);
  std::fflush(stderr);
  std::abort();
}

}  // namespace layerd
